import { expect, test } from 'vitest';
import { gradient } from '#worker/graph/index.ts';
import type { Graph } from '#worker/graph/index.ts';
import {
  attentionSaved,
  attentionStage,
  denseStage,
  expertStage,
  gateStage,
  inverseFrequencies,
  localExpertStage,
  lossStage,
  outputNormStage,
  routerStage,
  sharedStage,
  plainRouting,
} from '#worker/model/index.ts';
import type { GroupedQueryPlan, DecoderPlan, LayerPlan, LatentPlan, MoePlan } from '#worker/model/index.ts';
import { checkDialects, checkGradient } from './gradcheck.ts';
import type { CheckOptions } from './gradcheck.ts';

/** The real stages of a decoder, small: gradients of whole graphs, not of single ops. */

const rope = { layout: 'half', inverseFrequencies: inverseFrequencies(10000, 4) } as const;
const attention: GroupedQueryPlan = {
  kind: 'grouped-query',
  heads: 4,
  keyValueHeads: 2,
  headDim: 4,
  scale: 0.5,
  queryKeyNorm: { kind: 'projection', epsilon: 1e-5 },
  clip: null,
  rope,
};
const moe: MoePlan = {
  kind: 'moe',
  experts: 4,
  expertsPerToken: 2,
  intermediate: 6,
  router: { scoring: 'softmax', normalise: true },
};
const norm = { kind: 'rms', epsilon: 1e-5 } as const;
const layer: LayerPlan = { inputNorm: norm, attention, postAttentionNorm: norm, feedForward: moe };
/** Both halves with a norm on their output and a scaled residual. */
const dressed: LayerPlan = {
  ...layer,
  attentionOutputNorm: norm,
  feedForwardOutputNorm: norm,
  residualScale: 0.3,
};
const latent: LatentPlan = {
  kind: 'latent',
  heads: 2,
  queryRank: 5,
  keyValueRank: 3,
  contentDim: 2,
  valueDim: 3,
  epsilon: 1e-6,
  scale: 0.4,
  rope: { ...rope, layout: 'interleaved' },
};
const layerNorm = { kind: 'layer', epsilon: 1e-5, bias: true } as const;
const unbiased: LayerPlan = { ...layer, postAttentionNorm: { kind: 'layer', epsilon: 1e-5 } };
const sparseMixer: MoePlan = {
  ...moe,
  router: { scoring: 'softmax', normalise: false, sparseMixer: 0.4 },
};
const sigmoidRouter: MoePlan['router'] = {
  scoring: 'sigmoid',
  normalise: true,
  scale: 2.5,
  bias: true,
  selectionBias: true,
};
const sigmoidMoe: MoePlan = { ...moe, router: sigmoidRouter };
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
const biases = ['queryBias', 'keyBias', 'valueBias'];
const latentWeights = ['keyValueDown', 'keyValueDownNorm', 'keyValueUp', 'output'];
const denseWeights = ['denseGate', 'denseUp', 'denseDown'];
const sharedWeights = ['sharedGate', 'sharedUp', 'sharedDown'];
const expertWeights = ['expertGate', 'expertUp', 'expertDown'];
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
          rope: { ...rope, layout: 'interleaved' },
        },
      },
      8,
      float32,
    ),
    { ...attentionInputs, outputs: ['out'], wrt: attentionWeights, seed: 3 },
  ],
  [
    'attention with biases, sinks, and norms per head before the rotation',
    attentionStage(
      {
        ...dressed,
        attention: {
          ...attention,
          queryKeyNorm: { kind: 'head', epsilon: 1e-5 },
          biases: 'all',
          sinks: true,
        },
      },
      8,
      float32,
    ),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: [
        ...attentionWeights,
        ...biases,
        'outputBias',
        'queryNorm',
        'keyNorm',
        'sinks',
        'attentionOutputNorm',
      ],
    },
  ],
  [
    'attention with a scaled residual',
    attentionStage({ ...layer, residualScale: 0.3 }, 8, float32),
    { ...attentionInputs, outputs: ['out'], wrt: [...attentionWeights, 'queryNorm', 'keyNorm'] },
  ],
  [
    'attention behind a LayerNorm',
    attentionStage({ ...layer, inputNorm: layerNorm }, 8, float32),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: [...attentionWeights, 'inputNormBias', 'queryNorm', 'keyNorm'],
    },
  ],
  [
    'attention without positions, and norms per head',
    attentionStage(
      {
        ...layer,
        inputNorm: null,
        attention: { ...attention, rope: null, queryKeyNorm: { kind: 'rotated-head', epsilon: 1e-5 } },
      },
      8,
      float32,
    ),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: ['h', 'query', 'key', 'value', 'output', 'queryNorm', 'keyNorm'],
    },
  ],
  [
    'attention that rotates half of each head',
    attentionStage({ ...layer, attention: { ...attention, headDim: 8 } }, 8, float32),
    { ...attentionInputs, outputs: ['out'], wrt: [...attentionWeights, 'queryNorm', 'keyNorm'] },
  ],
  [
    'attention with narrow, scaled values and a gate on the context',
    attentionStage(
      { ...layer, attention: { ...attention, valueDim: 3, valueScale: 0.7, outputGate: 'sigmoid' } },
      8,
      float32,
    ),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: [...attentionWeights, 'queryNorm', 'keyNorm', 'outputGate'],
    },
  ],
  [
    'attention with a gate on each head',
    attentionStage({ ...layer, attention: { ...attention, outputGate: 'softplus-heads' } }, 8, float32),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: [...attentionWeights, 'queryNorm', 'keyNorm', 'outputGate'],
    },
  ],
  [
    'short convolution, with padding at the end of a row',
    attentionStage(
      {
        ...layer,
        attention: {
          ...attention,
          heads: 1,
          keyValueHeads: 1,
          headDim: 8,
          queryKeyNorm: { kind: 'none' },
          rope: null,
          window: 2,
          convolution: 2,
        },
      },
      8,
      float32,
    ),
    {
      ...attentionInputs,
      values: {
        ...attentionInputs.values,
        mask: [0, -1e9, -1e9, 1, 0, -1e9, -1e9, 1, 0, 0, -1e9, -1e9, 1, 0, -1e9, -1e9, 1, -1e9],
      },
      outputs: ['out'],
      wrt: [...attentionWeights, 'convolution'],
    },
  ],
  [
    'latent attention with compressed queries',
    attentionStage({ ...layer, attention: latent }, 8, float32),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: ['h', 'inputNorm', 'queryDown', 'queryDownNorm', 'query', ...latentWeights],
    },
  ],
  [
    'latent attention with direct queries',
    attentionStage({ ...layer, attention: { ...latent, queryRank: null } }, 8, float32),
    { ...attentionInputs, outputs: ['out'], wrt: ['h', 'inputNorm', 'query', ...latentWeights] },
  ],
  [
    'dense layer',
    denseStage({ ...layer, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'postAttentionNorm', ...denseWeights] },
  ],
  [
    'dense layer with a norm on its output',
    denseStage({ ...dressed, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32),
    {
      shapes: { N: 5 },
      outputs: ['out'],
      wrt: ['h', 'postAttentionNorm', ...denseWeights, 'feedForwardOutputNorm'],
    },
  ],
  [
    'shared expert',
    sharedStage({ ...layer, feedForward: { ...moe, shared: { intermediate: 6, gated: false } } }, 8, float32),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'x', ...sharedWeights] },
  ],
  [
    'shared expert behind a gate',
    sharedStage(
      { ...dressed, feedForward: { ...moe, shared: { intermediate: 6, gated: true } } },
      8,
      float32,
    ),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'x', ...sharedWeights, 'sharedMix'] },
  ],
  ...[false, true].map((gated): readonly [string, Graph, CheckOptions] => [
    gated ? 'local expert behind a gate' : 'local expert',
    localExpertStage(dressed, 8, { rank: 3, scale: 1.5, gated, threshold: null }, 'training'),
    {
      shapes: { N: 5 },
      outputs: ['y'],
      wrt: ['x', 'localDown', 'localUp', ...(gated ? ['localGate', 'localGateBias'] : [])],
    },
  ]),
  [
    'norm on the output of the experts',
    outputNormStage(dressed, 8, float32),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'mix', 'feedForwardOutputNorm'] },
  ],
  [
    'expert with a clamped activation, biases and a scaled residual',
    expertStage(
      { ...moe, activation: { kind: 'clamped', alpha: 1.702, limit: 0.7 }, expertBiases: true },
      8,
      float32,
      0.3,
    ),
    {
      shapes: { n: 5 },
      outputs: ['y'],
      wrt: ['x', 'weight', ...expertWeights, 'expertGateBias', 'expertUpBias', 'expertDownBias'],
    },
  ],
  [
    'router with biases',
    routerStage({ ...layer, feedForward: sigmoidMoe }, 8, plainRouting([sigmoidMoe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router', 'routerBias'] },
  ],
  [
    'router behind a LayerNorm without bias',
    routerStage(unbiased, 8, plainRouting([moe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router'] },
  ],
  [
    'router on a hidden state without a norm',
    routerStage({ ...layer, postAttentionNorm: null }, 8, plainRouting([moe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'router'] },
  ],
  [
    'gate of sigmoid scores',
    gateStage({ ...layer, feedForward: sigmoidMoe }, plainRouting([sigmoidMoe]), false),
    {
      shapes: { N: 3 },
      wrt: ['logits'],
      values: { multiplicity: [1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0] },
    },
  ],
  [
    'gate of SparseMixer',
    gateStage({ ...layer, feedForward: sparseMixer }, plainRouting([sparseMixer]), false),
    {
      shapes: { N: 3 },
      wrt: ['logits'],
      values: {
        logits: [1, 0.9, 0.7, -2, 0.2, 0.25, 0.3, 0.1, -1, -1.2, -0.9, -1.1],
        multiplicity: [1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 0],
      },
    },
  ],
  [
    'expert',
    expertStage(moe, 8, float32),
    { shapes: { n: 5 }, outputs: ['y'], wrt: ['x', 'weight', 'expertGate', 'expertUp', 'expertDown'] },
  ],
  [
    'router',
    routerStage(layer, 8, plainRouting([moe]), float32),
    { shapes: { N: 5 }, outputs: ['x', 'logits'], wrt: ['h', 'postAttentionNorm', 'router'] },
  ],
  [
    'gate',
    gateStage(layer, plainRouting([moe]), true),
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
  [
    'final LayerNorm, head with a bias and loss',
    lossStage({ ...plan, finalNorm: layerNorm, headBias: true, logitScale: 0.5 }, float32),
    {
      shapes: { n: 3 },
      wrt: ['h', 'finalNorm', 'finalNormBias', 'head', 'headBias'],
      values: { labels: [0, 6, 6] },
    },
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
  const saved = Object.keys(attentionSaved(attention));
  expect(products(saved)).toBe(4 + 4 + 1);
  expect(products([])).toBe(products(saved) + 3);
});
