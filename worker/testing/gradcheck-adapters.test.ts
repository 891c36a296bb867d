import {
  attentionStage,
  denseStage,
  expertStage,
  plainRouting,
  routerStage,
  sharedStage,
  type AdapterPlan,
  type LowRankPlan,
} from '#worker/model/index.ts';
import {
  attentionInputs,
  denseWeights,
  expertWeights,
  float32,
  latent,
  layer,
  moe,
  sharedWeights,
  testStages,
} from './gradcheck-stages.fixture.ts';

/** Stages whose matrices have something beside them. */

/** Roles with adapters of rank 2, every second one of rank `other`. */
function sized(roles: readonly string[], other = 2): LowRankPlan['roles'] {
  return new Map(roles.map((role, index) => [role, { rank: index % 2 === 0 ? 2 : other, alpha: 3 }]));
}

const adapters: LowRankPlan = {
  kind: 'low-rank',
  roles: sized(['query', 'key', 'value', 'output', 'expertGate', 'expertUp', 'expertDown', 'router'], 3),
  rankStabilised: false,
  magnitude: false,
  dropout: 0,
};
/** Masks are inputs like others. */
const dropped: LowRankPlan = { ...adapters, dropout: 0.5 };
const latentAdapters = sized(['queryDown', 'query', 'keyValueDown', 'keyValueUp', 'output']);
const mlpAdapters = sized([...denseWeights, ...sharedWeights]);
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
testStages([
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
    { ...attentionInputs, outputs: ['out'], wrt: ['h', ...partsOf(latentAdapters.keys(), 'loraA', 'loraB')] },
  ],
  [
    'attention with adapters under dropout',
    attentionStage({ ...layer, residualScale: 0.3 }, 8, float32, dropped),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: ['h', 'query', 'output', ...partsOf(['query', 'key', 'value', 'output'], 'loraA', 'loraB')],
    },
  ],
  [
    'latent attention with adapters under dropout',
    attentionStage({ ...layer, attention: latent }, 8, float32, { ...dropped, roles: latentAdapters }),
    { ...attentionInputs, outputs: ['out'], wrt: ['h', ...partsOf(latentAdapters.keys(), 'loraA', 'loraB')] },
  ],
  [
    'attention with magnitudes under dropout',
    attentionStage({ ...layer, residualScale: 0.3 }, 8, float32, { ...dropped, magnitude: true }),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: ['h', ...partsOf(['query', 'key', 'value', 'output'], 'magnitude')],
    },
  ],
  [
    'dense layer with adapters under dropout',
    denseStage({ ...layer, feedForward: { kind: 'dense', intermediate: 6 } }, 8, float32, {
      ...dropped,
      roles: mlpAdapters,
    }),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', ...partsOf(denseWeights, 'loraA', 'loraB')] },
  ],
  [
    'shared expert with adapters under dropout',
    sharedStage({ ...layer, feedForward: { ...moe, shared: { intermediate: 6, gated: true } } }, 8, float32, {
      ...dropped,
      roles: mlpAdapters,
    }),
    { shapes: { N: 5 }, outputs: ['out'], wrt: ['h', 'x', ...partsOf(sharedWeights, 'loraA', 'loraB')] },
  ],
  [
    'expert with adapters under dropout and a scale',
    expertStage({ ...moe, routedScale: 2 }, 8, float32, 0.3, dropped),
    {
      shapes: { n: 5 },
      outputs: ['y'],
      wrt: ['x', 'weight', ...partsOf(expertWeights, 'loraA', 'loraB')],
    },
  ],
  [
    'expert with magnitudes under dropout',
    expertStage(moe, 8, float32, 1, { ...dropped, magnitude: true }),
    { shapes: { n: 5 }, outputs: ['y'], wrt: ['x', 'weight', ...partsOf(expertWeights, 'magnitude')] },
  ],
  [
    'router with an adapter under dropout',
    routerStage(layer, 8, plainRouting([moe]), float32, dropped),
    {
      shapes: { N: 5 },
      outputs: ['x', 'logits'],
      wrt: ['h', 'postAttentionNorm', ...partsOf(['router'], 'loraA', 'loraB')],
    },
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
]);
