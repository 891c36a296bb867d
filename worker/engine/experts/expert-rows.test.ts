import { expect, test } from 'vitest';
import { Arena } from '#worker/kernels/index.ts';
import { dispatchTokens } from './dispatch.ts';
import { ExpertRows } from './expert-rows.ts';
import { Workspace } from '../workspace.ts';

/** Four tokens: expert 0 has two of them, 1 three, 2 one, 3 two. */
const dispatch = dispatchTokens(
  { k: 2, chosen_NK: Int32Array.of(0, 1, 1, 3, 0, 1, 2, 3), always: [], overlap: 'union' },
  4,
  Int32Array.of(0, 1, 2, 3),
  new Float32Array(16),
);

test('rows of experts that are kept are their own, the others lie in one place as large as the largest', () => {
  const arena = new Arena();
  const before = arena.bytesUsed;
  const rows = new ExpertRows(
    new Workspace(arena),
    dispatch,
    () => 5,
    (expert) => expert === 0 || expert === 3,
  );
  // Two and two rows, and the three of expert 1.
  expect(arena.bytesUsed - before).toBeGreaterThanOrEqual(7 * 5 * 4);
  expect(arena.bytesUsed - before).toBeLessThan(8 * 5 * 4);
  for (const expert of [0, 3, 1]) rows.of(expert).data.fill(expert + 1);
  rows.of(2).data.fill(9);
  expect([0, 1, 2, 3].map((expert) => rows.of(expert).shape)).toEqual([
    [2, 5],
    [3, 5],
    [1, 5],
    [2, 5],
  ]);
  expect(new Set(rows.of(0).data)).toEqual(new Set([1]));
  expect(new Set(rows.of(3).data)).toEqual(new Set([4]));
  // The last one that was written.
  expect(rows.of(1).offset).toBe(rows.of(2).offset);
  expect([...rows.of(1).data.subarray(0, 6)]).toEqual([9, 9, 9, 9, 9, 2]);
});
