import { expect, test } from 'vitest';
import { Arena, createKernels } from '#worker/kernels/index.ts';
import { dispatchTokens } from './dispatch.ts';
import { ExpertPairs, ROWS_TOGETHER, expertsTogether } from './expert-pairs.ts';
import { Workspace } from '../workspace.ts';

/** Five tokens: expert 0 has two of them, 1 three, 2 none, 3 one, 4 two. */
const dispatch = dispatchTokens(
  { k: 2, chosen_NK: Int32Array.of(0, 1, 1, 4, 0, 1, 3, 4, -1, -1), always: [], overlap: 'union' },
  5,
  Int32Array.of(0, 1, 2, 3, 4),
  new Float32Array(25),
);

test('experts are taken together as long as their rows are not too many, and one at least', () => {
  const together = (pairs: number) =>
    [...expertsTogether(dispatch, ROWS_TOGETHER / pairs)].map((experts) =>
      experts.map(({ expert }) => expert),
    );
  expect(together(8)).toEqual([[0, 1, 3, 4]]);
  expect(together(5)).toEqual([
    [0, 1],
    [3, 4],
  ]);
  expect(together(4)).toEqual([[0], [1, 3], [4]]);
  expect(together(1)).toEqual([[0], [1], [3], [4]]);
});

test('rows are taken expert by expert, and added to those of their tokens', () => {
  const arena = new Arena();
  const workspace = new Workspace(arena);
  const experts = [...expertsTogether(dispatch, 2)].flat().filter(({ expert }) => expert !== 1);
  const pairs = new ExpertPairs({ workspace, kernels: createKernels(arena) }, dispatch, experts);
  expect([...pairs.tokens]).toEqual([0, 2, 3, 1, 3]);
  const matrix = workspace.tensor(5, 2);
  matrix.data.set([0, 1, 10, 11, 20, 21, 30, 31, 40, 41]);
  const rows = pairs.gathered(matrix);
  expect([...rows.data]).toEqual([0, 1, 20, 21, 30, 31, 10, 11, 30, 31]);
  expect(experts.map((busy) => [...pairs.of(busy, rows).data])).toEqual([
    [0, 1, 20, 21],
    [30, 31],
    [10, 11, 30, 31],
  ]);
  pairs.addTo(matrix, rows);
  expect([...matrix.data]).toEqual([0, 2, 20, 22, 40, 42, 90, 93, 40, 41]);
});
