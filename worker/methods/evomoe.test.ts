import { describe, expect, test } from 'vitest';
import type { LayerPlan, RouterPlan } from '#worker/model/index.ts';
import { temperatureAt } from './evomoe-options.ts';
import { contextOf, passThrough, scoresOf, tokenIds_N } from './f0.fixture.ts';
import { startMethod } from './index.ts';

/** A session of one expert at least, at `step` of a run of 1,000 whose temperature falls in as many. */
function sessionAt(step: number, options: Record<string, unknown> = {}, expertsPerToken = 1) {
  const context = contextOf(expertsPerToken);
  const session = startMethod('evomoe', { fewest: 'one', fallShare: 1, ...options }, context);
  session.beforeStep?.({ step, totalSteps: 1000 });
  return { session, context };
}

describe('temperature', () => {
  const options = { temperatureStart: 2, temperatureEnd: 0.3 };
  test.each([
    { step: 250, exponential: 1.244666, linear: 1.575 },
    { step: 500, exponential: 0.774597, linear: 1.15 },
    { step: 1000, exponential: 0.3, linear: 0.3 },
    { step: 4000, exponential: 0.3, linear: 0.3 },
  ])('worked values at step $step', ({ step, exponential, linear }) => {
    const at = (schedule: 'exponential' | 'linear') =>
      temperatureAt({ ...options, schedule } as Parameters<typeof temperatureAt>[0], step, 1000);
    expect(at('exponential')).toBeCloseTo(exponential, 5);
    expect(at('linear')).toBeCloseTo(linear, 6);
  });

  test.each([
    { temperature: 2, p: [0.429625, 0.334592, 0.235783] },
    { temperature: 1, p: [0.524185, 0.317934, 0.157881] },
    { temperature: 0.5, p: [0.68559, 0.252215, 0.062195] },
    { temperature: 0.1, p: [0.993301, 0.006693, 0.000006] },
  ])('scores at temperature $temperature', async ({ temperature, p }) => {
    const { session } = sessionAt(0, { temperatureStart: temperature, temperatureEnd: temperature });
    const scores = await scoresOf(session);
    p.forEach((value, i) => expect(scores[i]).toBeCloseTo(value, 5));
  });
});

test('experts above the threshold get the plain softmax as weight', async () => {
  const { session, context } = sessionAt(0, { temperatureStart: 0.1, temperatureEnd: 0.1 });
  const choice = session.routing.choose(await scoresOf(session), tokenIds_N, 0);
  expect([...choice.chosen_NK.subarray(0, 3)]).toEqual([0, 1, -1]);
  const { y } = await passThrough(session, context);
  // 0.524185 · E₀ + 0.317934 · E₁, and nothing of E₂.
  expect(y[0]?.[0]).toBeCloseTo(0.524185 + 2 * 0.317934, 5);
});

test('when the temperature has fallen, the best expert is the only one', async () => {
  const { session } = sessionAt(1000);
  const choice = session.routing.choose(await scoresOf(session), tokenIds_N, 0);
  expect(choice).toMatchObject({ k: 1 });
  expect([...choice.chosen_NK]).toEqual([0, 1]);
});

test('with the published number a token never has fewer experts than the checkpoint gives it', async () => {
  const options = { fewest: 'published', threshold: 0.5, temperatureStart: 0.1, temperatureEnd: 0.1 };
  const { session } = sessionAt(0, options, 2);
  const choice = session.routing.choose(await scoresOf(session), tokenIds_N, 0);
  expect([...choice.chosen_NK]).toEqual([0, 1, -1, 1, 0, -1]);
  expect(session.inferenceRouting?.choose(await scoresOf(session), tokenIds_N, 0).k).toBe(2);
});

test('with a shared expert it has all tokens at weight 1; then all are copies, and the temperature begins to fall', async () => {
  const options = { diversifyShare: 0.2, fallShare: 0.5, schedule: 'linear', temperatureEnd: 1 };
  const { session, context } = sessionAt(199, options);
  expect(session.losses).toEqual([]);
  const { y, dLogits } = await passThrough(session, context);
  // E₀(x) = x.
  expect(y).toEqual([
    [1, 0],
    [0, 1],
  ]);
  expect(dLogits.map(Math.abs)).toEqual(new Array(6).fill(0));
  expect([...(session.inferenceRouting?.choose(new Float32Array(6), tokenIds_N, 0).chosen_NK ?? [])]).toEqual(
    [0, 0],
  );

  const weights = new Map<string, Float32Array>();
  const valuesOf = (id: string) => {
    const values = weights.get(id) ?? new Float32Array(4).fill(weights.size + 1);
    weights.set(id, values);
    return values;
  };
  const at = (step: number) => ({ step, totalSteps: 1000, microBatch: 0, microBatches: 1 });
  session.rewriteWeights?.(at(198), valuesOf);
  expect(weights.size).toBe(0);
  session.rewriteWeights?.(at(199), valuesOf);
  expect(weights.size).toBe(9);
  expect(session.afterStep(at(199))).toHaveLength(1);
  expect(session.losses).toHaveLength(1);
  const inverse = () => session.buffer('inverseTemperature', 0)[0];
  session.beforeStep?.({ step: 200, totalSteps: 1000 });
  expect([inverse(), session.buffer('shared', 0)[0]]).toEqual([0.5, 0]);
  session.beforeStep?.({ step: 600, totalSteps: 1000 });
  expect(inverse()).toBe(1);
  expect(session.afterStep(at(599))).toHaveLength(1);
});

test('a session knows from what it saved whether there is a shared expert', () => {
  const start = () => startMethod('evomoe', { diversifyShare: 0.5 }, contextOf(1));
  const [session, later] = [start(), start()];
  expect(session.save()).toEqual({ shared: true });
  session.beforeStep?.({ step: 5, totalSteps: 10 });
  later.restore(session.save());
  expect(later.buffer('shared', 0)[0]).toBe(0);
});

test('noise is the same within a micro-batch, and another in the next', () => {
  const context = {
    ...contextOf(1),
    gumbel: ({ step, microBatch }: { step: number; microBatch: number }, count: number) =>
      new Float32Array(count).fill(10 * step + microBatch),
  };
  const session = startMethod('evomoe', {}, context);
  session.beforeStep?.({ step: 3, totalSteps: 10 });
  const noise = () => session.tokenBuffer?.('noise', 0, 2)[0];
  expect([noise(), noise()]).toEqual([30, 30]);
  session.afterMicroBatch([], { step: 3, totalSteps: 10, microBatch: 0, microBatches: 2 });
  expect(noise()).toBe(31);
});

test.each<[string, Partial<RouterPlan>]>([
  ['scores experts with a sigmoid', { scoring: 'sigmoid' }],
  ['adds a bias to the scores it chooses by', { selectionBias: true }],
])('a checkpoint that %s is refused', (message, difference) => {
  const context = contextOf(2);
  const layers = context.plan.layers.map((layer): LayerPlan => {
    if (layer.feedForward.kind === 'dense') return layer;
    const router = { ...layer.feedForward.router, ...difference };
    return { ...layer, feedForward: { ...layer.feedForward, router } };
  });
  const changed = { ...context, plan: { ...context.plan, layers } };
  expect(() => startMethod('evomoe', {}, changed)).toThrow(message);
});
