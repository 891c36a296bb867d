/** Small stages of a decoder, and what holds for the gradient of each. */
import { expect, test } from 'vitest';
import type { Graph } from '#worker/graph/index.ts';
import {
  inverseFrequencies,
  type GroupedQueryPlan,
  type LatentPlan,
  type LayerPlan,
  type MoePlan,
} from '#worker/model/index.ts';
import {
  checkDialects,
  checkGradient,
  isForDevice,
  placementOnDevice,
  type CheckOptions,
} from './gradcheck.ts';
import { strayNodes } from '#worker/runtime/index.ts';
import { hasAdapter } from './adapter.ts';

export const rope = { layout: 'half', inverseFrequencies: inverseFrequencies(10000, 4) } as const;
export const attention: GroupedQueryPlan = {
  kind: 'grouped-query',
  heads: 4,
  keyValueHeads: 2,
  headDim: 4,
  scale: 0.5,
  queryKeyNorm: { kind: 'projection', epsilon: 1e-5 },
  clip: null,
  rope,
};
export const moe: MoePlan = {
  kind: 'moe',
  experts: 4,
  expertsPerToken: 2,
  intermediate: 6,
  router: { scoring: 'softmax', normalise: true },
};
export const norm = { kind: 'rms', epsilon: 1e-5 } as const;
export const layer: LayerPlan = { inputNorm: norm, attention, postAttentionNorm: norm, feedForward: moe };
/** Both halves with a norm on their output and a scaled residual. */
export const dressed: LayerPlan = {
  ...layer,
  attentionOutputNorm: norm,
  feedForwardOutputNorm: norm,
  residualScale: 0.3,
};
export const latent: LatentPlan = {
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
export const layerNorm = { kind: 'layer', epsilon: 1e-5, bias: true } as const;
export const float32 = (): 'float32' => 'float32';
const angles = Array.from({ length: 4 }, (_unused, position) => [position, position / 100]).flat();
export const attentionInputs: CheckOptions = {
  shapes: { N: 6, B: 2, S: 3, P: 4 },
  values: {
    positions: [0, 1, 2, 0, 1, 1],
    cos: angles.map(Math.cos),
    sin: angles.map(Math.sin),
    mask: Array.from({ length: 18 }, (_unused, i) => (i % 3 > Math.floor(i / 3) % 3 ? -1e9 : 0)),
  },
};

export const denseWeights = ['denseGate', 'denseUp', 'denseDown'];
export const sharedWeights = ['sharedGate', 'sharedUp', 'sharedDown'];
export const expertWeights = ['expertGate', 'expertUp', 'expertDown'];

/** A stage with what to check of it. */
export type StageCase = readonly [name: string, graph: Graph, options: CheckOptions];

/**
 * Declares the tests of each stage: its gradient in float64, what both providers compute beside the reference, and that a
 * GPU computes all of it.
 */
export function testStages(stages: readonly StageCase[]): void {
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

  const wide = stages.filter(([, graph]) => isForDevice(graph));
  test.runIf(hasAdapter && wide.length > 0).each(wide)(
    'webgpu in float32 against reference in float64: %s',
    async (_name, graph, options) => {
      for (const comparison of await checkDialects(graph, options, 'webgpu')) {
        expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(5e-5);
      }
    },
  );

  test.runIf(hasAdapter && wide.length > 0)('no node of the stages but sizes was left to the CPU', () => {
    const placed = placementOnDevice();
    expect(placed.filter(({ provider }) => provider === 'webgpu').length).toBeGreaterThan(5);
    expect(strayNodes(placed)).toEqual([]);
  });
}
