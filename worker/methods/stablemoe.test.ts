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

test('in stage 1 the router chooses; then each token keeps the expert it chose most often', () => {
  const session = startMethod('stablemoe', { stageSplit: 0.5 }, contextOf(1));
  const chosen = () => [...session.routing.choose(scores_NE, Int32Array.of(0, 1, 3), 0).chosen_NK];
  session.afterMicroBatch([usageOf([0, 1, 0, -1], choiceOf(1, 0, 1, 1, 2))], at(0));
  session.afterMicroBatch([usageOf([0, 1], choiceOf(1, 0, 2))], at(0));
  expect(session.afterStep(at(0))).toEqual([]);
  expect(chosen()).toEqual([2, 2, 2]);
  expect(session.losses.map(({ name, coefficient }) => [name, coefficient])).toEqual([
    ['load deviation', 0.3],
  ]);
  session.afterMicroBatch([usageOf([1], choiceOf(1, 1))], at(1));
  expect(session.afterStep(at(1))).toEqual(['Stage 2 begins: 2 tokens keep their experts in 1 layers.']);
  // Token 3 was not seen: the router still chooses for it.
  expect(chosen()).toEqual([0, 1, 2]);
  expect(session.losses).toEqual([]);
  expect([...(session.routerState().tokenExperts?.[0] ?? [])]).toEqual([0, 1, -1, -1]);
  // What is chosen now changes nothing.
  session.afterMicroBatch([usageOf([0, 0, 0], choiceOf(1, 2, 2, 2))], at(2));
  expect([session.afterStep(at(2)), chosen()]).toEqual([[], [0, 1, 2]]);
});

test('as many experts as the checkpoint gives a token, the more frequent ones, of equals the lower', () => {
  const session = startMethod('stablemoe', { stageSplit: 0.25 }, contextOf(2));
  session.afterMicroBatch([usageOf([1, 1, 2], choiceOf(2, 2, 0, 2, 1, 1, 0))], at(0));
  session.afterStep(at(0));
  expect([...(session.routerState().tokenExperts?.[0] ?? [])]).toEqual([-1, -1, 2, 0, 0, 1, -1, -1]);
});

test('a session goes on from what it saved, in either stage', () => {
  const whole = startMethod('stablemoe', { stageSplit: 0.5 }, contextOf(1));
  const parts = startMethod('stablemoe', { stageSplit: 0.5 }, contextOf(1));
  const usage = [usageOf([0, 1, 3], choiceOf(1, 0, 1, 1))];
  for (const step of [0, 1, 2]) {
    whole.afterMicroBatch(usage, at(step));
    whole.afterStep(at(step));
    // A step that was given up leaves nothing.
    parts.afterMicroBatch([usageOf([0, 0], choiceOf(1, 2, 2))], at(step));
    parts.restore(JSON.parse(JSON.stringify(whole.save())));
    expect(parts.save()).toEqual(whole.save());
    expect(parts.routerState()).toEqual(whole.routerState());
  }
});

test('with the whole run as stage 1 nothing is frozen', () => {
  const session = startMethod('stablemoe', { stageSplit: 1 }, contextOf(1));
  for (const step of [0, 1, 2, 3]) expect(session.afterStep(at(step))).toEqual([]);
  expect(session.routerState()).toEqual({});
});
