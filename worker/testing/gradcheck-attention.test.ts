import { expect, test } from 'vitest';
import { gradient } from '#worker/graph/index.ts';
import {
  attentionOutputStage,
  attentionSaved,
  attentionStage,
  headsStage,
  mixStage,
} from '#worker/model/index.ts';
import {
  attention,
  attentionInputs,
  dressed,
  float32,
  latent,
  layer,
  layerNorm,
  rope,
  testStages,
} from './gradcheck-stages.fixture.ts';

/** Attention, whole and in the parts that long rows go through. */

const attentionWeights = ['h', 'inputNorm', 'query', 'key', 'value', 'output'];
const biases = ['queryBias', 'keyBias', 'valueBias'];
const latentWeights = ['keyValueDown', 'keyValueDownNorm', 'keyValueUp', 'output'];
testStages([
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
    'latent attention with biases',
    attentionStage({ ...layer, attention: { ...latent, biases: true } }, 8, float32),
    {
      ...attentionInputs,
      outputs: ['out'],
      wrt: ['h', 'queryDown', 'queryDownBias', 'keyValueDownBias', 'outputBias', ...latentWeights],
    },
  ],
  [
    'latent attention with direct queries',
    attentionStage({ ...layer, attention: { ...latent, queryRank: null } }, 8, float32),
    { ...attentionInputs, outputs: ['out'], wrt: ['h', 'inputNorm', 'query', ...latentWeights] },
  ],
  [
    'heads of long rows, normalised and rotated',
    headsStage(layer, 8, float32),
    {
      ...attentionInputs,
      outputs: ['queryHeads', 'keyHeads', 'valueHeads'],
      wrt: ['h', 'inputNorm', 'query', 'key', 'value', 'queryNorm', 'keyNorm'],
    },
  ],
  [
    'heads of long rows from a latent, with a gate beside them',
    headsStage({ ...layer, attention: latent }, 8, float32),
    {
      ...attentionInputs,
      outputs: ['queryHeads', 'keyHeads', 'valueHeads'],
      wrt: ['h', 'inputNorm', 'queryDown', 'query', 'keyValueDown', 'keyValueUp'],
    },
  ],
  [
    'mixing of values for two queries of five keys, with sinks',
    mixStage({ ...layer, attention: { ...attention, sinks: true } }, 8, float32),
    {
      shapes: { B: 1, M: 2, T: 2, L: 5, U: 5 },
      values: { mask: [0, 0, 0, 0, -1e9, 0, 0, 0, 0, 0] },
      outputs: ['mixed'],
      wrt: ['queryHeads', 'keyHeads', 'valueHeads', 'sinks'],
    },
  ],
  [
    'output of long rows, gated and normalised',
    attentionOutputStage({ ...dressed, attention: { ...attention, outputGate: 'sigmoid' } }, 8, float32),
    {
      shapes: { N: 6 },
      outputs: ['out'],
      wrt: ['h', 'mixed', 'gateProjection', 'output', 'attentionOutputNorm'],
    },
  ],
]);

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
