import { expect, test } from 'vitest';
import { topK } from './top-k.ts';

const choose = (scores: readonly number[], rows: number, k: number, excluded: readonly number[] = []) => [
  ...topK(Float32Array.from(scores), rows, scores.length / rows, k, excluded),
];

test('by falling score, row by row', () => {
  expect(choose([0.1, 0.7, 0.2, 0.5, 0.4, 0.9], 2, 2)).toEqual([1, 2, 2, 0]);
});

test('of equal scores the lower index comes first', () => {
  expect(choose([1, 3, 3, 1, 3], 1, 4)).toEqual([1, 2, 4, 0]);
  expect(choose([0, 0, 0], 1, 3)).toEqual([0, 1, 2]);
});

test('a NaN is chosen after every number', () => {
  expect(choose([NaN, -Infinity, 2, NaN], 1, 2)).toEqual([2, 0]);
  expect(choose([NaN, 1, NaN, 2], 1, 2)).toEqual([3, 1]);
});

test('excluded columns are left out', () => {
  expect(choose([9, 8, 7, 6], 1, 2, [0, 2])).toEqual([1, 3]);
});

test('against a sort, on many rows with many ties', () => {
  const [rows, columns, k] = [200, 12, 5];
  const scores = Array.from({ length: rows * columns }, (_, i) => ((i * 7919) % 5) / 4);
  const want = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (_, column) => column)
      .sort((a, b) => (scores[row * columns + b] ?? 0) - (scores[row * columns + a] ?? 0) || a - b)
      .slice(0, k),
  );
  expect(choose(scores, rows, k)).toEqual(want.flat());
});
