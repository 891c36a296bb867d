import { expect, test } from 'vitest';
import { gradient } from '#worker/graph/index.ts';
import type { Graph } from '#worker/graph/index.ts';
import {
  attentionSaved,
  attentionStage,
  expertStage,
  gateStage,
  inverseFrequencies,
  lossStage,
  routerStage,
  plainRouting,
} from '#worker/model/index.ts';
import type { AttentionPlan, DecoderPlan, LayerPlan } from '#worker/model/index.ts';
import { checkDialects, checkGradient } from './gradcheck.ts';
import type { CheckOptions } from './gradcheck.ts';

/** The real stages of a decoder, small: gradients of whole graphs, not of single ops. */

const attention: AttentionPlan = {
  kind: 'grouped-query',
  heads: 4,
  keyValueHeads: 2,
  headDim: 4,
  scale: 0.5,
  queryKeyNorm: { kind: 'projection', epsilon: 1e-5 },
  clip: null,
  rope: { layout: 'half', inverseFrequencies: inverseFrequencies(10000, 4) },
};
const layer: LayerPlan = {
  inputNorm: { kind: 'rms', epsilon: 1e-5 },
  attention,
  postAttentionNorm: { kind: 'rms', epsilon: 1e-5 },
  feedForward: {
    kind: 'moe',
    experts: 4,
    expertsPerToken: 2,
    intermediate: 6,
    router: { scoring: 'softmax', normalise: true },
  },
};
const plan: DecoderPlan = {
  family: 'test',
  vocabularySize: 7,
  hiddenSize: 8,
  maxPositions: 8,
  paddingId: null,
  endIds: [],
  layers: [layer],
  finalNorm: { kind: 'rms', epsilon: 1e-5 },
  tiedHead: false,
  publishedAuxCoefficient: null,
};
const float32 = (): 'float32' => 'float32';
const angles = Array.from({ length: 4 }, (_unused, position) => [position, position / 100]).flat();
const attentionInputs: CheckOptions = {
  shapes: { N: 6, B: 2, S: 3, P: 4 },
  values: {
    positions: [0, 1, 2, 0, 1, 1],
    cos: angles.map(Math.cos),
    sin: angles.map(Math.sin),
    mask: Array.from({ length: 18 }, (_unused, i) => (i % 3 > Math.floor(i / 3) % 3 ? -1e9 : 0)),
  },
};

const attentionWeights = ['h', 'inputNorm', 'query', 'key', 'value', 'output'];
const stages: readonly (readonly [string, Graph, CheckOptions])[] = [
  [
    'attention with shared key heads and normalised projections',
    attentionStage(layer, 8, float32),
    { ...attentionInputs, outputs: ['out'], wrt: [...attentionWeights, 'queryNorm', 'keyNorm'] },
  ],
  [
    'attention with clamped projections and interleaved rotation',
    attentionStage(
      {
        ...layer,
        attention: {
          ...attention,
          clip: 1,
          queryKeyNorm: { kind: 'none' },
          rope: { ...attention.rope, layout: 'interleaved' },
        },
      },
      8,
      float32,
    ),
    { ...attentionInputs, outputs: ['out'], wrt: attentionWeights, seed: 3 },
  ],
  [
    'expert',
    expertStage(8, 6, float32),
    { shapes: { n: 5 }, outputs: ['y'], wrt: ['x', 'weight', 'expertGate', 'expertUp', 'expertDown'] },
  ],
  [
    'router',
    routerStage(layer, 8, plainRouting([layer.feedForward]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router'] },
  ],
  [
    'gate',
    gateStage(layer, plainRouting([layer.feedForward]), true),
    {
      shapes: { N: 3 },
      wrt: ['logits'],
      values: { multiplicity: [1, 0, 1, 0, 0, 2, 0, 1, 1, 1, 0, 0] },
    },
  ],
  [
    'final norm, head and loss',
    lossStage(plan, float32),
    { shapes: { n: 3 }, wrt: ['h', 'finalNorm', 'head'], values: { labels: [0, 6, 6] } },
  ],
];

test.each(stages)('gradient in float64: %s', async (_name, graph, options) => {
  for (const comparison of await checkGradient(graph, options)) {
    expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(1e-6);
  }
});

test.each(stages)('cpu in float32 against reference in float64: %s', async (_name, graph, options) => {
  for (const comparison of await checkDialects(graph, options)) {
    expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(2e-5);
  }
});

test('kept projections leave only the products of the backward pass and of the scores', () => {
  const graph = attentionStage(layer, 8, float32);
  const products = (saved: readonly string[]): number =>
    gradient(graph, { outputs: ['out'], wrt: ['h'], saved }).nodes.filter((node) => node.op.name === 'matmul')
      .length;
  // Backward: four projections, and two products for each of scores and mixing; forward again: the scores.
  expect(products(attentionSaved)).toBe(4 + 4 + 1);
  expect(products([])).toBe(products(attentionSaved) + 3);
});
