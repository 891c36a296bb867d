import { describe, expect, test } from 'vitest';
import { uniform } from '#worker/random/index.ts';
import { balancedAssignment } from './balanced-assignment.ts';

const sumOf = (scores: ArrayLike<number>, columns: number, assigned: Int32Array, k: number) =>
  assigned.reduce((sum, column, at) => sum + (scores[Math.floor(at / k) * columns + column] ?? NaN), 0);

test('worked value: four tokens, of which the greedy choice sends all to one expert', () => {
  const scores = Float64Array.of(3, 2.9, 2.8, 1, 2.5, 2.4, 1, 0.2);
  const assigned = balancedAssignment(scores, 4, 2, 1);
  expect([...assigned]).toEqual([1, 0, 1, 0]);
  expect(sumOf(scores, 2, assigned, 1)).toBeCloseTo(9.1);
});

/** The largest sum, by trying everything. */
function bestSum(scores: Float64Array, rows: number, columns: number, k: number): number {
  const capacity = Math.ceil((rows * k) / columns);
  const load = new Array<number>(columns).fill(0);
  const visit = (row: number, column: number, left: number): number => {
    if (left === 0) return row + 1 === rows ? 0 : visit(row + 1, 0, k);
    if (columns - column < left) return -Infinity;
    const without = visit(row, column + 1, left);
    if (load[column] === capacity) return without;
    load[column] = (load[column] ?? 0) + 1;
    const taken = (scores[row * columns + column] ?? NaN) + visit(row, column + 1, left - 1);
    load[column] = (load[column] ?? 0) - 1;
    return Math.max(without, taken);
  };
  return visit(0, 0, k);
}

describe.each([
  { rows: 6, columns: 3, k: 1 },
  { rows: 7, columns: 3, k: 1 },
  { rows: 6, columns: 4, k: 2 },
  { rows: 5, columns: 4, k: 3 },
])('$rows rows, $columns columns, $k each', ({ rows, columns, k }) => {
  test.each([1, 2, 3, 4, 5])('the sum is the largest there is (%i)', (seed) => {
    // A common preference makes columns scarce.
    const scores = uniform(seed, 'scores', rows * columns).map((u, at) => u - (at % columns));
    const assigned = balancedAssignment(scores, rows, columns, k);
    expect(sumOf(scores, columns, assigned, k)).toBeCloseTo(bestSum(scores, rows, columns, k), 9);
    const load = new Array<number>(columns).fill(0);
    for (const column of assigned) load[column] = (load[column] ?? 0) + 1;
    expect(Math.max(...load)).toBeLessThanOrEqual(Math.ceil((rows * k) / columns));
    for (let row = 0; row < rows; row++)
      expect(new Set(assigned.subarray(row * k, (row + 1) * k)).size).toBe(k);
  });
});
