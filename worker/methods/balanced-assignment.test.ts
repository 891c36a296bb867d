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

/** Balance and distinctness of an assignment. */
function expectBalanced(assigned: Int32Array, rows: number, columns: number, k: number): void {
  const load = new Array<number>(columns).fill(0);
  for (const column of assigned) load[column] = (load[column] ?? 0) + 1;
  expect(Math.max(...load)).toBeLessThanOrEqual(Math.ceil((rows * k) / columns));
  for (let row = 0; row < rows; row++)
    expect(new Set(assigned.subarray(row * k, (row + 1) * k)).size).toBe(k);
}

describe.each([
  { rows: 6, columns: 3, k: 1 },
  { rows: 7, columns: 3, k: 1 },
  { rows: 6, columns: 4, k: 2 },
  { rows: 5, columns: 4, k: 3 },
])('$rows rows, $columns columns, $k each', ({ rows, columns, k }) => {
  // A common preference makes columns scarce.
  test.each([
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 1e-7],
    [5, 0],
  ])('the sum is the largest there is (seed %i, own part %d)', (seed, own) => {
    const scores = uniform(seed, 'scores', rows * columns).map((u, at) => own * u - (at % columns));
    const assigned = balancedAssignment(scores, rows, columns, k);
    expect(sumOf(scores, columns, assigned, k)).toBeCloseTo(bestSum(scores, rows, columns, k), 9);
    expectBalanced(assigned, rows, columns, k);
  });
});

/**
 * What changing rows around would add at most: the best path of moves, each from a column to the next, that comes back to its first
 * column or ends at one with room. Nothing, if the sum is the largest.
 */
function bestChange(
  scores: Float64Array,
  rows: number,
  columns: number,
  assigned: Int32Array,
  k: number,
): number {
  const sum = new Float64Array(columns * columns).fill(-Infinity);
  const load = new Array<number>(columns).fill(0);
  assigned.forEach((from, at) => {
    const row = Math.floor(at / k);
    load[from] = (load[from] ?? 0) + 1;
    const own = assigned.subarray(row * k, (row + 1) * k);
    for (let to = 0; to < columns; to++) {
      if (own.includes(to)) continue;
      const gain = (scores[row * columns + to] ?? NaN) - (scores[row * columns + from] ?? NaN);
      sum[from * columns + to] = Math.max(sum[from * columns + to] ?? NaN, gain);
    }
  });
  for (let by = 0; by < columns; by++)
    for (let at = 0; at < columns * columns; at++) {
      const around = (sum[at - (at % columns) + by] ?? NaN) + (sum[by * columns + (at % columns)] ?? NaN);
      sum[at] = Math.max(sum[at] ?? NaN, around);
    }
  const room = load.map((count) => count < Math.ceil((rows * k) / columns));
  return Math.max(
    ...sum.map((gain, at) => (room[at % columns] || Math.floor(at / columns) === at % columns ? gain : 0)),
  );
}

test.each([
  { rows: 300, columns: 8, k: 2, own: 1 },
  { rows: 301, columns: 16, k: 3, own: 0.1 },
  { rows: 200, columns: 12, k: 4, own: 1e-6 },
])('no change adds anything: $rows rows, $columns columns, own part $own', ({ rows, columns, k, own }) => {
  const scores = uniform(7, 'scores', rows * columns).map((u, at) => own * u - ((at % columns) % 5) / 4);
  const assigned = balancedAssignment(scores, rows, columns, k);
  expectBalanced(assigned, rows, columns, k);
  expect(bestChange(scores, rows, columns, assigned, k)).toBeLessThan(1e-12);
  // One row that exchanges its columns for worse ones shows.
  const worse = assigned.slice();
  const others = Int32Array.from({ length: columns }, (_, column) => column).filter(
    (c) => !worse.subarray(0, k).includes(c),
  );
  worse.set(others.subarray(0, k));
  expect(bestChange(scores, rows, columns, worse, k)).toBeGreaterThan(1e-9);
});
