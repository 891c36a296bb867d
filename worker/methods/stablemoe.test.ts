import { expect, test } from 'vitest';
import type { Choice, LayerUsage } from '#worker/model/index.ts';
import { contextOf, noUsage } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const choiceOf = (k: number, ...chosen: readonly number[]): Choice => ({
  chosen_NK: Int32Array.from(chosen),
  k,
  always: [],
  overlap: 'union',
});
const usageOf = (ids: readonly number[], choice: Choice): LayerUsage => ({
  ...noUsage,
  ids_N: Int32Array.from(ids),
  choice,
});
const at = (step: number) => ({ step, totalSteps: 4, microBatch: 0, microBatches: 1 });
/** Scores by which every token goes to expert 2. */
const scores_NE = Float32Array.of(0, 0, 1, 0, 0, 1, 0, 0, 1);

test('counted: in stage 1 the router chooses; then each token keeps the expert it chose most often', () => {
  const session = startMethod('stablemoe', { stageSplit: 0.5, distilledBy: 'counts' }, contextOf(1));
  const chosen = () => [...session.routing.choose(scores_NE, Int32Array.of(0, 1, 3), 0).chosen_NK];
  session.afterMicroBatch([usageOf([0, 1, 0, -1], choiceOf(1, 0, 1, 1, 2))], at(0));
  session.afterMicroBatch([usageOf([0, 1], choiceOf(1, 0, 2))], at(0));
  expect(session.afterStep(at(0))).toEqual([]);
  expect(chosen()).toEqual([2, 2, 2]);
  expect(session.losses.map(({ name, coefficient }) => [name, coefficient])).toEqual([
    ['load deviation', 0.3],
  ]);
  session.afterMicroBatch([usageOf([1], choiceOf(1, 1))], at(1));
  // Token 0 went to expert 0 in 2 of 3 cases, token 1 to expert 1 in 2 of 3.
  expect(session.afterStep(at(1))).toEqual([
    'Stage 2 begins: tokens keep their experts in 1 layers. This routing makes 67 % of the choices of stage 1.',
  ]);
  // Token 3 was not seen: the router still chooses for it.
  expect(chosen()).toEqual([0, 1, 2]);
  expect(session.losses).toEqual([]);
  expect([...(session.routerState().tokenExperts?.[0] ?? [])]).toEqual([0, 1, -1, -1]);
  // What is chosen now changes nothing.
  session.afterMicroBatch([usageOf([0, 0, 0], choiceOf(1, 2, 2, 2))], at(2));
  expect([session.afterStep(at(2)), chosen()]).toEqual([[], [0, 1, 2]]);
});

test('as many experts as the checkpoint gives a token, the more frequent ones, of equals the lower', () => {
  const session = startMethod('stablemoe', { stageSplit: 0.25, distilledBy: 'counts' }, contextOf(2));
  session.afterMicroBatch([usageOf([1, 1, 2], choiceOf(2, 2, 0, 2, 1, 1, 0))], at(0));
  session.afterStep(at(0));
  expect([...(session.routerState().tokenExperts?.[0] ?? [])]).toEqual([-1, -1, 2, 0, 0, 1, -1, -1]);
});

/** Word embeddings of 4 tokens and centroids of 3 experts, with width 2. */
const weightsOf = (id: string) =>
  id === 'layers.0.tokenEmbedding'
    ? Float32Array.of(1, 0, 0, 1, -1, -1, 0.5, 0.4)
    : Float32Array.of(1, 0, 0, 1, -1, 0);

test('learnt: stage 2 begins with the best experts by word embeddings, of tokens that were never seen too', () => {
  const session = startMethod('stablemoe', { stageSplit: 0.5, embeddingSize: 2 }, contextOf(2));
  const shapes = session.added?.map(({ id, shape }) => [id, shape]);
  expect(shapes).toEqual([
    ['layers.0.tokenEmbedding', [4, 2]],
    ['layers.0.tokenCentroids', [3, 2]],
  ]);
  expect(session.distillation).toEqual({ width: 2, coefficient: 0.3 });
  expect([...(session.frozen ?? [])]).toEqual([]);
  for (const step of [0, 1]) {
    session.afterMicroBatch([usageOf([0, 2], choiceOf(2, 0, 2, 2, 1))], at(step));
    session.rewriteWeights?.(at(step), weightsOf);
    expect(session.afterStep(at(step))).toHaveLength(step);
  }
  // Scores [1, 0, −1], [0, 1, 0], [−1, −1, 1] and [.5, .4, −.5].
  expect([...(session.routerState().tokenExperts?.[0] ?? [])]).toEqual([0, 1, 1, 0, 2, 0, 0, 1]);
  expect([...session.routing.choose(scores_NE, Int32Array.of(3, -1, 0), 0).chosen_NK]).toEqual([
    0, 1, 2, 0, 0, 1,
  ]);
  expect([session.distillation, session.losses]).toEqual([null, []]);
  expect([...(session.frozen ?? [])]).toEqual(shapes?.map(([id]) => id));
});

test('word embeddings begin normal and centroids orthogonal with length .1, by the seed alone', () => {
  const start = (seed: number) => {
    const session = startMethod('stablemoe', {}, { ...contextOf(1), seed });
    const initial = (session.added ?? []).map((parameter) => [
      ...parameter.initial(() => new Float32Array()),
    ]);
    return { embedding: initial[0] ?? [], centroids: initial[1] ?? [] };
  };
  const { embedding, centroids } = start(1);
  expect(start(1)).toEqual({ embedding, centroids });
  expect(start(2)).not.toEqual({ embedding, centroids });
  const square = embedding.reduce((sum, value) => sum + value * value, 0) / embedding.length;
  expect(Math.abs(square - 1)).toBeLessThan(0.3);
  for (const a of [0, 1, 2]) {
    for (const b of [0, 1, 2]) {
      const product = centroids
        .slice(50 * a, 50 * (a + 1))
        .reduce((sum, value, i) => sum + value * (centroids[50 * b + i] ?? NaN), 0);
      expect(product).toBeCloseTo(a === b ? 0.01 : 0, 7);
    }
  }
});

test.each(['counts', 'embedding'])(
  'a session goes on from what it saved, in either stage: %s',
  (distilledBy) => {
    const options = { stageSplit: 0.5, distilledBy, embeddingSize: 2 };
    const whole = startMethod('stablemoe', options, contextOf(1));
    const parts = startMethod('stablemoe', options, contextOf(1));
    const usage = [usageOf([0, 1, 3], choiceOf(1, 0, 1, 1))];
    for (const step of [0, 1, 2]) {
      whole.afterMicroBatch(usage, at(step));
      whole.rewriteWeights?.(at(step), weightsOf);
      whole.afterStep(at(step));
      // A step that was given up leaves nothing.
      parts.afterMicroBatch([usageOf([0, 0], choiceOf(1, 2, 2))], at(step));
      parts.restore(JSON.parse(JSON.stringify(whole.save())));
      expect(parts.save()).toEqual(whole.save());
      expect(parts.routerState()).toEqual(whole.routerState());
      expect([parts.distillation, parts.frozen]).toEqual([whole.distillation, whole.frozen]);
    }
    expect(whole.routerState().tokenExperts).toHaveLength(1);
  },
);

test('with the whole run as stage 1 nothing is frozen', () => {
  const session = startMethod('stablemoe', { stageSplit: 1 }, contextOf(1));
  for (const step of [0, 1, 2, 3]) expect(session.afterStep(at(step))).toEqual([]);
  expect(session.routerState()).toEqual({});
});
