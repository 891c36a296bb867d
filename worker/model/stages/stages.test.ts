import { describe, expect, test } from 'vitest';
import { familyOf } from '#worker/families/index.ts';
import type { Graph } from '#worker/graph/index.ts';
import { startMethod } from '#worker/methods/index.ts';
import { checkGradient, runOnce, type CheckOptions } from '#worker/testing/index.ts';
import type { DecoderPlan, GroupedQueryPlan, LayerPlan, MoePlan } from '../decoder-plan.ts';
import { plainRouting } from '../routing.ts';
import type { Routing } from '../routing-slots.ts';
import { routerShapes } from '../slots.ts';
import { attentionStage } from './attention.ts';
import { expertStage } from './expert.ts';
import { lossStage } from './head.ts';
import { gateStage, routerStage } from './router.ts';
import { meanOutputStage, standInStage } from './stand-in.ts';

const plan: DecoderPlan = familyOf({ model_type: 'olmoe' }).plan({
  vocab_size: 7,
  hidden_size: 8,
  intermediate_size: 5,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_experts: 4,
  num_experts_per_tok: 2,
});
const [layer] = plan.layers as [LayerPlan & { attention: GroupedQueryPlan; feedForward: MoePlan }];
const float32 = () => 'float32' as const;

/** Directional derivatives of the backward graph against central differences, in float64. */
async function expectGradient(graph: Graph, options: CheckOptions): Promise<void> {
  const comparisons = await checkGradient(graph, options);
  expect(comparisons.length).toBe(3 * (options.wrt?.length ?? 0));
  for (const comparison of comparisons) {
    expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(1e-6);
  }
}

const attentionWeights = ['inputNorm', 'query', 'key', 'value', 'output'];
const norms = ['queryNorm', 'keyNorm'];
const HIDDEN = -1e9;

const attentionCases: readonly {
  readonly title: string;
  readonly attention: Partial<GroupedQueryPlan>;
  readonly wrt: readonly string[];
}[] = [
  {
    title: 'plain heads',
    attention: { queryKeyNorm: { kind: 'none' } },
    wrt: attentionWeights,
  },
  {
    title: 'normalised query and key',
    attention: { queryKeyNorm: { kind: 'projection', epsilon: 1e-5 } },
    wrt: [...attentionWeights, ...norms],
  },
  {
    title: 'shared key and value heads',
    attention: { heads: 4, keyValueHeads: 2, headDim: 2, queryKeyNorm: { kind: 'none' } },
    wrt: attentionWeights,
  },
  {
    title: 'shared heads, normalised and clipped',
    attention: {
      heads: 4,
      keyValueHeads: 1,
      headDim: 2,
      clip: 0.8,
      queryKeyNorm: { kind: 'projection', epsilon: 1e-5 },
    },
    wrt: [...attentionWeights, ...norms],
  },
  {
    title: 'interleaved rotation',
    attention: {
      queryKeyNorm: { kind: 'none' },
      rope: { layout: 'interleaved', inverseFrequencies: [1, 0.1] },
    },
    wrt: attentionWeights,
  },
];

describe('attention', () => {
  test.each(attentionCases)('gradient: $title', async ({ attention, wrt }) => {
    const changed = { ...layer.attention, ...attention };
    const { layout = 'half', inverseFrequencies = [] } = changed.rope ?? {};
    const frequencies = inverseFrequencies.slice(0, changed.headDim / 2);
    const adapted = { ...changed, rope: { layout, inverseFrequencies: frequencies } };
    // Row 0: an example of three tokens. Row 1: two packed examples, of one token and of two.
    const apart = [0, HIDDEN, HIDDEN, HIDDEN, 0, HIDDEN, HIDDEN, 0, 0];
    const whole = [0, HIDDEN, HIDDEN, 0, 0, HIDDEN, 0, 0, 0];
    const angles = Array.from({ length: 4 * frequencies.length }, (_, i) => 0.3 * i);
    await expectGradient(attentionStage({ ...layer, attention: adapted }, 8, float32), {
      shapes: { N: 6, B: 2, S: 3, P: 4 },
      values: {
        positions: [0, 1, 2, 0, 0, 1],
        cos: angles.map(Math.cos),
        sin: angles.map(Math.sin),
        mask: [...whole, ...apart],
      },
      outputs: ['out'],
      wrt: ['h', ...wrt],
    });
  });
});

const condensers: Routing = startMethod(
  'expert-condenser',
  {},
  {
    plan,
    moeLayers: 1,
    seed: 0,
    gumbel: (_place, count) => new Float32Array(count),
    readBias: () => [],
    readCondensers: () => [],
    readExpertConfig: () => ({ experts: [], sharedExperts: false, nonExpertModules: false }),
    readAdapters: (path) => {
      throw new RangeError(`no adapters in ${path}`);
    },
    readDefaultOutputs: () => [],
    readTokenExperts: () => [],
    tokenCounts: () => new Uint32Array(0),
    submatrices: null,
    expertScores: null,
  },
).routing;
const normalised = plainRouting(
  routerShapes({
    ...plan,
    layers: [
      { ...layer, feedForward: { ...layer.feedForward, router: { scoring: 'softmax', normalise: true } } },
    ],
  }),
);
const routings: readonly { readonly title: string; readonly routing: Routing }[] = [
  { title: 'plain', routing: plainRouting(routerShapes(plan)) },
  { title: 'normalised', routing: normalised },
  { title: 'condensers with bias', routing: condensers },
];
const bias = { 'buffer.bias': [0.3, -0.2, 0.1, 0] };

describe('router', () => {
  test.each(routings)('gradient: $title', async ({ routing }) => {
    await expectGradient(routerStage(layer, 8, routing, float32), {
      shapes: { N: 3 },
      values: bias,
      wrt: ['h', 'postAttentionNorm', 'router'],
    });
  });
});

describe('gate', () => {
  // The last token visits no expert: padding.
  const multiplicity = [1, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0];

  test.each(routings)('gradient: $title', async ({ routing }) => {
    await expectGradient(gateStage(layer, routing, false), {
      shapes: { N: 3 },
      values: { ...bias, multiplicity },
      wrt: ['logits'],
    });
  });

  test.each(routings)('gradient with auxiliary losses: $title', async ({ routing }) => {
    await expectGradient(gateStage(layer, routing, true), {
      shapes: { N: 3 },
      values: { ...bias, multiplicity },
      outputs: ['weights', 'probabilities', 'logSumExp'],
      wrt: ['logits'],
    });
  });
});

test('expert: gradient', async () => {
  await expectGradient(expertStage(layer.feedForward, 8, float32), {
    shapes: { n: 3 },
    outputs: ['y'],
    wrt: ['x', 'weight', 'expertGate', 'expertUp', 'expertDown'],
  });
});

test('stand-ins: gradient', async () => {
  await expectGradient(
    standInStage(
      { ...layer, residualScale: 0.3, feedForward: { ...layer.feedForward, routedScale: 2.5 } },
      8,
    ),
    {
      shapes: { N: 3 },
      values: { multiplicity: [1, 0, 1, 0, 0, 2, 0, 1, 1, 1, 0, 0] },
      outputs: ['y'],
      wrt: ['denseWeights', 'vectors'],
    },
  );
});

test.each<[string, Partial<MoePlan>]>([
  ['plain', {}],
  ['clamped, with biases', { activation: { kind: 'clamped', alpha: 1.7, limit: 0.7 }, expertBiases: true }],
])('expert: the mean output is that of its outputs with gate weight 1, %s', async (_title, more) => {
  const moe = { ...layer.feedForward, ...more };
  const { feeds, results } = await runOnce(expertStage(moe, 8, float32), {
    shapes: { n: 3 },
    values: { weight: [1, 1, 1] },
  });
  const values = Object.fromEntries(
    Object.entries({ ...feeds, ...results }).map(([name, { data }]) => [name, Array.from(data, Number)]),
  );
  const mean = await runOnce(meanOutputStage(moe, 8, float32, null), { shapes: { n: 3 }, values });
  const y = values['y'] ?? [];
  for (let h = 0; h < 8; h++) {
    const expected = ((y[h] ?? NaN) + (y[8 + h] ?? NaN) + (y[16 + h] ?? NaN)) / 3;
    expect(Number(mean.results['mean']?.data[h])).toBeCloseTo(expected, 5);
  }
});

test('head and loss: gradient', async () => {
  await expectGradient(lossStage(plan, float32), {
    shapes: { n: 3 },
    values: { labels: [6, 0, 3] },
    outputs: ['loss'],
    wrt: ['h', 'finalNorm', 'head'],
  });
});
