import { expect, test } from 'vitest';
import type { LayerRouting } from '#worker/model/index.ts';
import { gateBalancingLoss, loadDeviationLoss } from './gate-losses.ts';

/** A layer of two experts from the gate weights of its tokens; an expert without weight is not chosen. */
function layerOf(weights: readonly number[], mask?: readonly number[]): LayerRouting {
  const tokens = weights.length / 2;
  return {
    tokens,
    experts: 2,
    rows: 1,
    mask_N: Uint8Array.from(mask ?? new Array<number>(tokens).fill(1)),
    probabilities_NE: new Float32Array(weights.length),
    logSumExp_N: new Float32Array(tokens),
    counts_E: new Uint32Array(2),
    choice: { chosen_NK: new Int32Array(tokens), k: 1, always: [], overlap: 'union' },
    weights_NE: Float32Array.from(weights),
    multiplicity_NE: Float32Array.from(weights, (weight) => (weight === 0 ? 0 : 1)),
  };
}

test('gate balancing is balanced at one expert each, and its gradient runs through the weights', () => {
  const { value, gradients } = gateBalancingLoss(1).evaluate([layerOf([1, 0, 0, 1])]);
  expect(value).toBeCloseTo(1);
  expect([...(gradients[0]?.weights_NE ?? [])]).toEqual([0.5, 0.5, 0.5, 0.5]);
});

const sigmoid = (s: number) => 1 / (1 + Math.exp(-s));
/** Four tokens that all prefer expert 0, weighted by the sigmoid of their scores. */
const greedy = [3, 2.8, 2.5, 1].flatMap((score) => [sigmoid(score), 0]);

test('load deviation: worked value, a mean over tokens', () => {
  const { value, gradients } = loadDeviationLoss(1).evaluate([layerOf(greedy)]);
  expect(value).toBeCloseTo(3.55045 / 4, 6);
  expect([...(gradients[0]?.weights_NE ?? [])].slice(0, 2)).toEqual([0.25, -0.25]);
});

test('load deviation is nothing for an even load, a mean over layers, and padding has no part in it', () => {
  const of = (...layers: readonly LayerRouting[]) => loadDeviationLoss(1).evaluate(layers);
  expect(of(layerOf([0.7, 0, 0, 0.6])).value).toBeCloseTo(0);
  expect(of(layerOf(greedy), layerOf([0.7, 0, 0, 0.6])).value).toBeCloseTo(3.55045 / 8, 6);
  const padded = of(layerOf([...greedy, 0, 0.9], [1, 1, 1, 1, 0]));
  expect(padded.value).toBeCloseTo(3.55045 / 4, 6);
  expect([...(padded.gradients[0]?.weights_NE ?? [])].slice(-2)).toEqual([0, 0]);
});
