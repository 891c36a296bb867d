import { expect, test } from 'vitest';
import { roundRows } from './int8-rows.ts';

test('worked numbers: a scale for each row, to the nearest, ties to even', () => {
  // max |w| is 127 · 0.5 in the first row, so that w / s is 127, −3, 2.5 and 3.5.
  const { values_RC, scales_R } = roundRows(Float32Array.of(63.5, -1.5, 1.25, 1.75, -254, 1, -3, 127), 4);
  expect([...scales_R]).toEqual([0.5, 2]);
  expect([...values_RC]).toEqual([127, -3, 2, 4, -127, 0, -2, 64]);
});

test('no weight moves by more than half a scale, and the largest of a row stays', () => {
  const matrix = Float32Array.from({ length: 3 * 101 }, (_, i) => Math.sin(i * i) * 10 ** ((i % 7) - 4));
  const { values_RC, scales_R } = roundRows(matrix, 101);
  matrix.forEach((weight, i) => {
    const scale = scales_R[Math.floor(i / 101)] as number;
    expect(Math.abs(weight - scale * (values_RC[i] as number))).toBeLessThanOrEqual(scale * (0.5 + 1e-6));
  });
  for (const row of [0, 1, 2])
    expect(Math.max(...values_RC.subarray(row * 101, (row + 1) * 101).map(Math.abs))).toBe(127);
});

test('rows without a scale are zeros with scale 1', () => {
  const { values_RC, scales_R } = roundRows(Float32Array.of(0, -0, 1e-44, -1e-38), 2);
  expect([[...scales_R], [...values_RC].map(Math.abs)]).toEqual([[1, 1], [0, 0, 0, 0]]); // prettier-ignore
});

test('a weight that is no number is not hidden', () => {
  const { scales_R } = roundRows(Float32Array.of(1, NaN, Infinity, 2, 3, 4), 2);
  expect([...scales_R]).toEqual([NaN, NaN, Math.fround(4 / 127)]);
});
