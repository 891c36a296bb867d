import { expect, test } from 'vitest';
import type { LayerPlan } from '#worker/model/index.ts';
import { contextOf } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const softmax = (logits: readonly number[]) => {
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  return logits.map((logit) => Math.exp(logit) / total);
};
/** Six tokens that all prefer expert 0; those at the end could do without it more easily. */
const rows = [0, 1, 2, 3, 4, 5].map((token) => softmax([5, 1 + token / 2, token / 2]));
const scores_NE = Float32Array.from(rows.flat());

test('in training experts share the tokens evenly, in use tokens go where they like', () => {
  const { routing, inferenceRouting } = startMethod('base-assignment', {}, contextOf(1));
  const { chosen_NK, k } = routing.choose(scores_NE, new Int32Array(6), 0);
  expect(k).toBe(1);
  expect([0, 1, 2].map((expert) => chosen_NK.filter((chosen) => chosen === expert).length)).toEqual([
    2, 2, 2,
  ]);
  expect([...chosen_NK.subarray(0, 2)]).toEqual([0, 0]);
  expect([...(inferenceRouting?.choose(scores_NE, new Int32Array(6), 0).chosen_NK ?? [])]).toEqual([
    0, 0, 0, 0, 0, 0,
  ]);
});

test('padding takes no place', () => {
  const { routing } = startMethod('base-assignment', {}, contextOf(1));
  const { chosen_NK } = routing.choose(scores_NE, Int32Array.of(-1, 1, -1, 1, -1, 1), 0);
  expect([...chosen_NK]).toEqual([-1, 0, -1, 1, -1, 2]);
});

test('a checkpoint that chooses by a bias is refused', () => {
  const context = contextOf(1);
  const layers = context.plan.layers.map((layer): LayerPlan => {
    if (layer.feedForward.kind === 'dense') return layer;
    const router = { ...layer.feedForward.router, selectionBias: true } as const;
    return { ...layer, feedForward: { ...layer.feedForward, router } };
  });
  const changed = { ...context, plan: { ...context.plan, layers } };
  expect(() => startMethod('base-assignment', {}, changed)).toThrow('adds a bias');
});
