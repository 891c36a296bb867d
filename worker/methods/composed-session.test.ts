import { describe, expect, test } from 'vitest';
import { parametersOf, trains } from '#worker/model/index.ts';
import { contextOf, noUsage } from './f0.fixture.ts';
import { sampleTokensOf, startMethod, warmUpOf } from './index.ts';

type Named = readonly [name: string, options?: Readonly<Record<string, unknown>>];

const context = { ...contextOf(2), vocabularySize: 4 };
const optionsOf = (...parts: readonly Named[]) => ({
  methods: parts.map(([name, options = {}]) => ({ name, options })),
});
const compose = (...parts: readonly Named[]) => startMethod('compose', optionsOf(...parts), context);
const at = { step: 0, totalSteps: 4, microBatch: 0, microBatches: 1 };

describe('methods whose slots are disjoint', () => {
  test('a weight trains where all of them train it, and losses add up', () => {
    const session = compose(['frozen-router'], ['full', { zLossCoefficient: 0.01 }], ['loss-free-balancing']);
    const trained = parametersOf(context.plan).filter((parameter) => trains(session, parameter));
    expect(trained.map(({ role }) => role)).not.toContain('router');
    expect(trained.map(({ role }) => role)).toEqual(expect.arrayContaining(['expertUp', 'query']));
    expect(session.losses.map(({ name }) => name)).toEqual(['router z']);
    expect(session.routing.buffers).toEqual(startMethod('loss-free-balancing', {}, context).routing.buffers);
  });

  test('adapters train beside a routing that has condensers', () => {
    const session = compose(['lora', { rank: 2 }], ['expert-condenser', { phase: 'bias' }]);
    expect(parametersOf(context.plan).some((parameter) => trains(session, parameter))).toBe(false);
    expect(session.added?.length).toBeGreaterThan(0);
    expect(session.adapters).not.toBeNull();
    const alone = startMethod('expert-condenser', { phase: 'bias' }, context);
    const usage = [{ ...noUsage, soft_E: Float32Array.of(3, 2, 1) }];
    for (const each of [session, alone]) {
      each.afterMicroBatch(usage, at);
      each.afterStep(at);
    }
    expect(session.routerState()).toEqual(alone.routerState());
    expect(session.routerState().bias_LE?.some((bias) => bias !== 0)).toBe(true);

    const resumed = compose(['lora', { rank: 2 }], ['expert-condenser', { phase: 'bias' }]);
    resumed.restore(JSON.parse(JSON.stringify(session.save())));
    expect(resumed.routerState()).toEqual(session.routerState());
  });

  test('what a method needs first is asked for', () => {
    expect(sampleTokensOf('compose', optionsOf(['frozen-router'], ['esft', { sampleTokens: 64 }]))).toBe(64);
    const squares = { blockSize: 1, attentionShare: 0.5, mlpShare: 0.5 };
    const warmUp = warmUpOf('smt', squares, context.plan);
    expect(warmUpOf('compose', optionsOf(['frozen-router'], ['smt', squares]), context.plan)).toMatchObject({
      steps: warmUp?.steps,
      learningRate: warmUp?.learningRate,
    });
    expect(warmUpOf('compose', optionsOf(['frozen-router'], ['full']), context.plan)).toBeNull();
  });
});

test.each<readonly [readonly Named[], RegExp]>([
  [[['densemixer'], ['expert-condenser']], /densemixer and expert-condenser both decide routing/],
  [[['lora'], ['full'], ['dora']], /lora and dora both decide adapters/],
  [
    [
      ['full', { zLossCoefficient: 0.1 }],
      ['densemixer', { zLossCoefficient: 0.2 }],
    ],
    /full and densemixer both decide the loss “router z”/,
  ],
  [
    [
      ['full', { zLossCoefficient: 0.1, auxLossScores: 'softmax' }],
      ['densemixer', { auxLossCoefficient: 0.2 }],
    ],
    /full and densemixer both decide the scores that auxiliary losses look at/,
  ],
  [[['full'], ['nothing']], /there is no method "nothing"/],
  [[['full'], ['lora', { ranks: 3 }]], /method\.options \(lora\)/],
  [[['full']], /methods/],
])('%j is refused', (parts, why) => {
  expect(() => compose(...parts)).toThrow(why);
});
