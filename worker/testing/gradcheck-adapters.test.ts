import { expect, test } from 'vitest';
import type { Graph } from '#worker/graph/index.ts';
import {
  attentionStage,
  denseStage,
  expertStage,
  inverseFrequencies,
  plainRouting,
  routerStage,
  sharedStage,
  type AdapterPlan,
  type GroupedQueryPlan,
  type LatentPlan,
  type LayerPlan,
  type LowRankPlan,
  type MoePlan,
} from '#worker/model/index.ts';
import { checkDialects, checkGradient, type CheckOptions } from './gradcheck.ts';

/** Stages whose matrices have something beside them. */

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
const moe: MoePlan = {
  kind: 'moe',
  experts: 4,
  expertsPerToken: 2,
  intermediate: 6,
  router: { scoring: 'softmax', normalise: true },
};
const norm = { kind: 'rms', epsilon: 1e-5 } as const;
const layer: LayerPlan = { inputNorm: norm, attention, postAttentionNorm: norm, feedForward: moe };
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
const denseWeights = ['denseGate', 'denseUp', 'denseDown'];
const sharedWeights = ['sharedGate', 'sharedUp', 'sharedDown'];
const expertWeights = ['expertGate', 'expertUp', 'expertDown'];

const adapters: LowRankPlan = {
  kind: 'low-rank',
  roles: new Set(['query', 'key', 'value', 'output', 'expertGate', 'expertUp', 'expertDown', 'router']),
  rank: 2,
  alpha: 3,
  rankStabilised: false,
  magnitude: false,
};
const latentAdapters = new Set(['queryDown', 'query', 'keyValueDown', 'keyValueUp', 'output']);
const mlpAdapters = new Set([...denseWeights, ...sharedWeights]);
/** Sub-matrices of every matrix; where they are does not matter to a gradient, which is linear in it. */
const submatrices: AdapterPlan = { kind: 'submatrices', size: 2, places: new Map() };
const placesOf = (roles: readonly string[]) =>
  Object.fromEntries(
    roles.flatMap((role) => [
      [`${role}.places`, 3],
      [`${role}.touchedRows`, 2],
      [`${role}.touchedColumns`, 2],
    ]),
  );
/** The parts of the adapters beside `roles`. */
const partsOf = (roles: Iterable<string>, ...parts: readonly string[]) =>
  [...roles].flatMap((role) => parts.map((part) => `${role}.${part}`));
const stages: readonly (readonly [string, Graph, CheckOptions])[] = [
  [
    'attention with adapters and a scaled residual',
    attentionStage({ ...layer, residualScale: 0.3 }, 8, float32, adapters),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: ['h', 'query', 'output', ...partsOf(['query', 'key', 'value', 'output'], 'loraA', 'loraB')],
    },
  ],
  [
    'latent attention with adapters',
    attentionStage({ ...layer, attention: latent }, 8, float32, { ...adapters, roles: latentAdapters }),
    { ...attentionInputs, outputs: ['out'], wrt: ['h', ...partsOf(latentAdapters, 'loraA', 'loraB')] },
  ],
  [
    'attention with magnitudes',
    attentionStage({ ...layer, residualScale: 0.3 }, 8, float32, { ...adapters, magnitude: true }),
    {
      ...attentionInputs,
      outputs: ['out'],
      // The norm of a row is a constant to the gradient of W, A and B, so that differences do not follow it.
      wrt: ['h', ...partsOf(['query', 'key', 'value', 'output'], 'magnitude')],
    },
  ],
  [
    'attention with sub-matrices',
    attentionStage({ ...layer, residualScale: 0.3 }, 8, float32, submatrices),
    {
      ...attentionInputs,
      shapes: { ...attentionInputs.shapes, ...placesOf(['query', 'key', 'value', 'output']) },
      outputs: ['out'],
      wrt: ['h', ...partsOf(['query', 'key', 'value', 'output'], 'submatrices')],
    },
  ],
  [
    'dense layer with adapters',
    denseStage({ ...layer, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32, {
      ...adapters,
      roles: mlpAdapters,
    }),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', ...partsOf(denseWeights, 'loraA', 'loraB')] },
  ],
  [
    'shared expert with adapters',
    sharedStage({ ...layer, feedForward: { ...moe, shared: { intermediate: 6, gated: true } } }, 8, float32, {
      ...adapters,
      roles: mlpAdapters,
    }),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'x', ...partsOf(sharedWeights, 'loraA', 'loraB')] },
  ],
  [
    'expert with adapters, biases and a scale',
    expertStage({ ...moe, expertBiases: true, routedScale: 2 }, 8, float32, 0.3, adapters),
    {
      shapes: { n: 5 },
      outputs: ['y'],
      wrt: ['x', 'weight', 'expertUpBias', ...partsOf(expertWeights, 'loraA', 'loraB')],
    },
  ],
  [
    'expert with magnitudes',
    expertStage(moe, 8, float32, 1, { ...adapters, magnitude: true }),
    { shapes: { n: 5 }, outputs: ['y'], wrt: ['x', 'weight', ...partsOf(expertWeights, 'magnitude')] },
  ],
  [
    'expert with sub-matrices and a scale',
    expertStage({ ...moe, routedScale: 2 }, 8, float32, 0.3, submatrices),
    {
      shapes: { n: 5, ...placesOf(expertWeights) },
      outputs: ['y'],
      wrt: ['x', 'weight', ...partsOf(expertWeights, 'submatrices')],
    },
  ],
  [
    'router with an adapter',
    routerStage(layer, 8, plainRouting([moe]), float32, adapters),
    {
      shapes: { N: 5 },
      outputs: ['x', 'logits'],
      wrt: ['h', 'postAttentionNorm', ...partsOf(['router'], 'loraA', 'loraB')],
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
