import { describe, expect, test } from 'vitest';
import type { LayerUsage, MethodContext, MethodSession } from '#worker/model/index.ts';
import { contextOf, noUsage, passThrough, scoresOf, tokenIds_N } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const at = { step: 0, totalSteps: 4, microBatch: 0, microBatches: 1 };

/** A session whose bias and condensers stand as given. */
function sessionWith(
  options: Record<string, unknown>,
  context: MethodContext,
  bias: readonly number[],
): MethodSession {
  const session = startMethod('expert-condenser', { phase: 'condensers', ...options }, context);
  session.restore({
    bias: [bias],
    softUsage: [[0, 0, 0]],
    hardUsage: [[0, 0, 0]],
    condensers: null,
    pending: null,
  });
  return session;
}

function usageOf(soft_E: readonly number[], all_E: readonly number[] = soft_E): LayerUsage {
  return {
    ...noUsage,
    soft_E: Float32Array.from(soft_E),
    softAll_E: Float32Array.from(all_E),
    hard_E: Uint32Array.from(soft_E),
    hardAll_E: Uint32Array.from(all_E),
  };
}

function expectNear(got: readonly number[], want: readonly number[]): void {
  expect(got).toHaveLength(want.length);
  got.forEach((value, i) => expect(value, `${i} of ${got.join(', ')}`).toBeCloseTo(want[i] ?? NaN, 5));
}

test('bias phase: three updates by the soft usage of the biased gate', async () => {
  const session = startMethod('expert-condenser', { phase: 'bias', biasSpeed: 0.1 }, contextOf(2));
  const seen = [];
  for (let step = 0; step < 3; step++) {
    const scores = await scoresOf(session);
    const soft = [0, 1, 2].map((e) => (scores[e] ?? 0) + (scores[3 + e] ?? 0));
    session.afterMicroBatch([usageOf(soft)], { ...at, step });
    session.afterStep({ ...at, step });
    seen.push({ soft, bias: [...(session.routerState().bias_LE ?? [])] });
  }
  expectNear(seen[0]?.soft ?? [], [0.805593, 0.781897, 0.41251]);
  expectNear(seen[0]?.bias ?? [], [0.1, 0.1, -0.1]);
  expectNear(seen[1]?.soft ?? [], [0.834654, 0.813716, 0.351631]);
  expectNear(seen[1]?.bias ?? [], [0.2, 0.2, -0.2]);
  expectNear(seen[2]?.soft ?? [], [0.860163, 0.841872, 0.297966]);
  expectNear(seen[2]?.bias ?? [], [0.3, 0.3, -0.3]);
});

describe('condenser phase: outputs and router gradient', () => {
  const readings = [
    {
      title: 'condensers on top of the chosen',
      options: { budget: 'add' },
      y: [1.165375, 0.04543, 0.080261, 1.241451],
      dLogits: [-0.11426, 0.244924, -0.130664, -0.071801, 0.144194, -0.072393],
      // Without the condenser expert 2 would have none.
      dSlopes: [0.7861, 0.54278, 0.17112],
    },
    {
      title: 'condensers in place of chosen ones',
      options: { budget: 'replace' },
      y: [0.562047, 0.04543, 0.080261, 0.884204],
      dLogits: [0.252248, -0.176402, -0.075846, -0.186612, 0.230332, -0.04372],
    },
    {
      title: 'in place of chosen ones, the bias only chooses',
      options: { budget: 'replace', biasInWeights: false },
      y: [0.445244, 0.078941, 0.127314, 0.800613],
      dLogits: [0.270105, -0.154107, -0.115998, -0.148477, 0.219167, -0.07069],
    },
  ];

  test.each(readings)('$title', async ({ options, y, dLogits, dSlopes }) => {
    const context = contextOf(2);
    const session = sessionWith({ ...options, condensersPerLayer: 1 }, context, [0.3, 0.1, -0.4]);
    const result = await passThrough(session, context);
    expectNear(result.y.flat(), y);
    expectNear(result.dLogits, dLogits);
    if (dSlopes !== undefined) expectNear(result.dSlopes, dSlopes);
    expect(session.routerState().condensers).toEqual([[2]]);
  });

  test.each([
    { bias: [0.3, 0.1, -0.4], p: [0.607477, 0.301664, 0.090859, 0.357246, 0.482232, 0.160521] },
    { bias: [-0.2, 0.1, 0.05], p: [0.453418, 0.371227, 0.175355] },
  ])('probabilities under the bias $bias', async ({ bias, p }) => {
    const scores = await scoresOf(sessionWith({ condensersPerLayer: 1 }, contextOf(2), bias));
    expectNear([...scores.subarray(0, p.length)], p);
  });

  test.each([
    { overlap: 'double', y: [1.64929, 0, 0.132407, 1.110041] },
    { overlap: 'union', y: [1.195872, 0, 0.132407, 1.110041] },
  ])('an expert that is chosen and condenser: $overlap', async ({ overlap, y }) => {
    const context = contextOf(2);
    const session = sessionWith({ overlap, condensersPerLayer: 1 }, context, [-0.2, 0.1, 0.05]);
    expectNear((await passThrough(session, context)).y.flat(), y);
    expect(session.routerState().condensers).toEqual([[0]]);
  });

  test('no condensers: the plain router, with the bias', async () => {
    const context = contextOf(2);
    const none = sessionWith({ condensersPerLayer: 0 }, context, [0, 0, 0]);
    const plain = startMethod('full', {}, context);
    const [a, b] = [await passThrough(none, context), await passThrough(plain, context)];
    expectNear(a.y.flat(), b.y.flat());
    expectNear(a.dLogits, b.dLogits);
  });
});

describe('what moves the bias', () => {
  const drift = (options: Record<string, unknown>, usages: readonly LayerUsage[]) => {
    const session = startMethod(
      'expert-condenser',
      { phase: 'bias', biasSpeed: 0.5, ...options },
      contextOf(1),
    );
    usages.forEach((usage, microBatch) =>
      session.afterMicroBatch([usage], { ...at, microBatch, microBatches: usages.length }),
    );
    session.afterStep(at);
    return [...(session.routerState().bias_LE ?? [])];
  };

  test('padding does not, unless asked for', () => {
    const usage = usageOf([3, 1, 2], [3, 9, 2]);
    expect(drift({}, [usage])).toEqual([0.5, -0.5, 0]);
    expect(drift({ padsInUsage: true }, [usage])).toEqual([-0.5, 0.5, -0.5]);
  });

  test('a step: once by all its micro-batches, or by the last one', () => {
    const usages = [usageOf([6, 0, 3]), usageOf([0, 4, 2])];
    expect(drift({}, usages)).toEqual([0.5, -0.5, 0]);
    expect(drift({ usageScope: 'lastMicroBatch' }, usages)).toEqual([-0.5, 0.5, 0]);
  });

  test('every micro-batch, with cadence forward', () => {
    expect(drift({ cadence: 'forward' }, [usageOf([2, 0, 1]), usageOf([2, 0, 1])])).toEqual([1, -1, 0]);
  });

  test('the hook of the released trainer fires in every n-th step only', () => {
    // Two micro-batches: nothing moves in step 0.
    expect(drift({ cadence: 'authorsHook' }, [usageOf([2, 0, 1]), usageOf([2, 0, 1])])).toEqual([0, 0, 0]);
  });

  test('equal usage leaves it', () => {
    expect(drift({}, [usageOf([2, 2, 2])])).toEqual([0, 0, 0]);
  });
});

test('phase both: condensers are chosen at the split, among the least raised experts', () => {
  const session = startMethod(
    'expert-condenser',
    { phase: 'both', phaseSplit: 0.5, condensersPerLayer: 1, biasSpeed: 0.1, condenserBiasSpeed: 0.01 },
    contextOf(1),
  );
  const step = (n: number) => {
    session.afterMicroBatch([usageOf([5, 1, 3])], { ...at, step: n });
    return session.afterStep({ ...at, step: n });
  };
  expect(step(0)).toEqual([]);
  expect(session.routerState().condensers).toBeUndefined();
  expect(step(1)).toHaveLength(1);
  expect(session.routerState()).toMatchObject({ condensers: [[1]], biasSpeed: 0.01 });
  step(2);
  expectNear([...(session.routerState().bias_LE ?? [])], [0.21, -0.21, 0]);
});

test('a saved session goes on as if it had not stopped', () => {
  const make = () => startMethod('expert-condenser', { phase: 'bias', biasSpeed: 0.1 }, contextOf(1));
  const [whole, first, second] = [make(), make(), make()];
  for (const session of [whole, first]) session.afterMicroBatch([usageOf([3, 1, 2])], at);
  second.restore(JSON.parse(JSON.stringify(first.save())));
  for (const session of [whole, second]) session.afterStep(at);
  expect(second.save()).toEqual(whole.save());
});

test('wrong options are named', () => {
  const start = (options: Record<string, unknown>) => () =>
    startMethod('expert-condenser', options, contextOf(2));
  expect(start({ condensersPerLayer: 4 })).toThrow('4 condensers in MoE layer 0, but budget "add" allows 3');
  expect(start({ condensersPerLayer: 3, budget: 'replace' })).toThrow('budget "replace" allows 2');
  expect(start({ condensersPerLayer: [1, 2] })).toThrow('has 2 numbers; this model has 1 MoE layers');
  expect(start({ biasSped: 1 })).toThrow('did you mean biasSpeed?');
  expect(() =>
    sessionWith({}, contextOf(2), [0, 0, 0]).routing.choose(new Float32Array(6), tokenIds_N, 0),
  ).toThrow('every router bias is zero');
});
