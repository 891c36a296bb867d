import { expect, test } from 'vitest';
import { compareLogits } from './compare-logits.ts';

/** Two shapes with two rows each, of two tokens, at the ends of rows of three places; two logits each. */
const probe = {
  at: Int32Array.of(1, 2, 4, 5, 7, 8, 10, 11),
  rows: [0, 1, 2, 3].map((row) => ({ shape: row % 2, from: 2 * row, to: 2 * row + 2 })),
};
const want = Float32Array.from({ length: 16 }, (_, i) => i - 8);

/** What a program would compute that is off by `by` in the last token of `rows`; its padding is anything. */
function computed(rows: readonly number[], by: number): Float32Array {
  const got = new Float32Array(24).fill(99);
  probe.at.forEach((place, token) => got.set(want.subarray(2 * token, 2 * token + 2), 2 * place));
  for (const row of rows) got[2 * (3 * row + 2)] = (got[2 * (3 * row + 2)] ?? 0) + by;
  return got;
}
const compare = (rows: readonly number[], by: number, mayTie = true) =>
  compareLogits({ ...probe }, want, computed(rows, by), mayTie);

test('rounding is told, and padding does not count', () => {
  expect(compare([0, 1, 2, 3], 2 ** -10)).toEqual({
    largestDifference: 2 ** -10,
    largestLogit: 8,
    rowsApart: 0,
  });
});

test('rows may be apart where experts are nearly tied, but not all of a shape', () => {
  expect(compare([0, 3], 0.5)).toEqual({ largestDifference: 0, largestLogit: 8, rowsApart: 2 });
  expect(() => compare([0, 2], 0.5)).toThrow('they differ by 0.50 in 2 of 4 rows, the largest is 8.0');
  expect(() => compare([1], 0.5, false)).toThrow('in 1 of 4 rows');
});

test('what is no number is never near', () => {
  expect(() => compare([1], NaN)).toThrow('they differ by Infinity in 1 of 4 rows');
});
