import { expect, test } from 'vitest';
import type { Choice } from '#worker/model/index.ts';
import { dispatchTokens, gatherPairs, scatterPairs, tokensElsewhere } from './dispatch.ts';
import { layerRouting, layerUsage } from './usage.ts';

const choice: Choice = { chosen_NK: Int32Array.of(2, 0, 1, 2, 0, 1), k: 2, always: [], overlap: 'union' };
const everyone = Int32Array.of(5, 6, 7);

function dispatch(of: Partial<Choice>, ids_N = everyone) {
  return dispatchTokens({ ...choice, ...of }, 3, ids_N, new Float32Array(9).fill(7));
}

test('pairs are sorted by expert, then by token', () => {
  const { tokens, offsets, multiplicity_NE } = dispatch({});
  expect([...offsets]).toEqual([0, 2, 4, 6]);
  expect([...tokens]).toEqual([0, 2, 1, 2, 0, 1]);
  expect([...multiplicity_NE]).toEqual([1, 0, 1, 0, 1, 1, 1, 1, 0]);
});

test('tokens that are not included visit no expert', () => {
  const { tokens, offsets, multiplicity_NE } = dispatch({ always: [0] }, Int32Array.of(-1, 6, -1));
  expect([...tokens]).toEqual([1, 1, 1]);
  expect([...offsets]).toEqual([0, 1, 2, 3]);
  expect([...multiplicity_NE]).toEqual([0, 0, 0, 1, 1, 1, 0, 0, 0]);
});

test('an always-active expert that is chosen too counts once or twice, but is visited once', () => {
  const union = dispatch({ always: [0] });
  const double = dispatch({ always: [0], overlap: 'double' });
  expect([...union.multiplicity_NE]).toEqual([1, 0, 1, 1, 1, 1, 1, 1, 0]);
  expect([...double.multiplicity_NE]).toEqual([2, 0, 1, 1, 1, 1, 2, 1, 0]);
  expect([...double.tokens]).toEqual([...union.tokens]);
  expect([...union.offsets]).toEqual([0, 3, 5, 7]);
});

test('values of pairs are gathered and put back', () => {
  const sent = dispatch({});
  const matrix = Float32Array.from({ length: 9 }, (_, i) => i);
  const values = new Float32Array(6);
  gatherPairs(sent, matrix, values);
  expect([...values]).toEqual([0, 6, 4, 7, 2, 5]);
  const back = new Float32Array(9).fill(7);
  scatterPairs(sent, values, back);
  expect([...back]).toEqual([0, 0, 2, 0, 4, 5, 6, 7, 0]);
});

test('tokens that could have come to an expert and went elsewhere', () => {
  const elsewhere = (ids_N: typeof everyone) =>
    [0, 1, 2].map((expert) => [...tokensElsewhere(dispatch({}, ids_N), expert)]);
  expect(elsewhere(everyone)).toEqual([[1], [0], [2]]);
  expect(elsewhere(Int32Array.of(5, -1, 7))).toEqual([[], [0], [2]]);
});

test('usage counts choices and weights of real tokens, and of all positions apart', () => {
  const scores = Float32Array.of(0.25, 0.25, 0.5, 0.125, 0.5, 0.375, 0.5, 0.375, 0.125);
  const weights = Float32Array.of(0.25, 0, 0.5, 0, 0.5, 0.375, 0.5, 0.375, 0);
  const usage = layerUsage(choice, scores, weights, Int32Array.of(5, 6, -1), 3);
  expect([...usage.hard_E]).toEqual([1, 1, 2]);
  expect([...usage.hardAll_E]).toEqual([2, 2, 2]);
  expect([...usage.soft_E]).toEqual([0.375, 0.75, 0.875]);
  expect([...usage.softAll_E]).toEqual([0.875, 1.125, 1]);
  expect([...usage.mass_E]).toEqual([0.25, 0.5, 0.875]);
});

test('auxiliary losses see the choice on raw probabilities of real tokens', () => {
  const probabilities = Float32Array.of(0.2, 0.3, 0.5, 0.6, 0.3, 0.1);
  const choice = { chosen_NK: Int32Array.of(0, 1, 0, 1), k: 2, always: [], overlap: 'union' } as const;
  const layer = {
    probabilities_NE: probabilities,
    logSumExp_N: Float32Array.of(1, 2),
    mask_N: Uint8Array.of(1, 0),
    experts: 3,
    rows: 1,
    choice,
    weights_NE: probabilities,
    multiplicity_NE: Float32Array.of(1, 1, 0, 1, 1, 0),
  };
  const routing = layerRouting(layer, 2);
  expect([...routing.counts_E]).toEqual([0, 1, 1]);
  expect(routing).toMatchObject({ tokens: 2, experts: 3 });
});
