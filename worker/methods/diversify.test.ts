import { expect, test } from 'vitest';
import { parametersOf } from '#worker/model/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { copyFirstExpert, type Diversity } from './diversify.ts';

const plan = familyOf({ model_type: 'olmoe' }).plan({
  vocab_size: 4,
  hidden_size: 40,
  intermediate_size: 50,
  num_hidden_layers: 2,
  num_attention_heads: 1,
  num_experts: 3,
  num_experts_per_tok: 1,
});

/** The weights of all experts after copying; before, those of expert e of layer l are all 1 + e + 10 l. */
function copied(diversity: Diversity, seed = 1): Map<string, Float32Array> {
  const weights = new Map(
    parametersOf(plan).map(({ id, expert, layer, shape }) => [
      id,
      new Float32Array(shape.reduce((count, size) => count * size, 1)).fill(
        1 + (expert ?? 0) + 10 * (layer ?? 0),
      ),
    ]),
  );
  copyFirstExpert(plan, seed, diversity, (id) => weights.get(id) ?? new Float32Array(0));
  return weights;
}
const up = (weights: Map<string, Float32Array>, layer: number, expert: number) =>
  weights.get(`layers.${layer}.experts.${expert}.expertUp`) ?? new Float32Array(0);

test('without change all experts of a layer are its first, and nothing else changes', () => {
  const weights = copied({ kind: 'mask', amount: 0 });
  for (const { id, layer } of parametersOf(plan))
    expect(new Set(weights.get(id)), id).toEqual(new Set([1 + 10 * (layer ?? 0)]));
});

test('mask: about the given share of each matrix is zero, elsewhere in each copy, and the rest as it was', () => {
  const weights = copied({ kind: 'mask', amount: 0.1 });
  for (const expert of [0, 1, 2]) {
    const zeros = up(weights, 1, expert).filter((value) => value === 0).length;
    expect(zeros).toBeGreaterThan(150);
    expect(zeros).toBeLessThan(250);
    expect(new Set(up(weights, 1, expert))).toEqual(new Set([0, 11]));
  }
  expect(up(weights, 1, 1)).not.toEqual(up(weights, 1, 2));
  expect(up(weights, 0, 1).map(Math.sign)).not.toEqual(up(weights, 1, 1).map(Math.sign));
});

test('noise: of the given size beside the weights', () => {
  const values = up(copied({ kind: 'noise', amount: 0.05 }), 1, 2);
  const size = Math.sqrt(values.reduce((sum, value) => sum + (value - 11) ** 2, 0) / values.length);
  expect(size / 11).toBeGreaterThan(0.045);
  expect(size / 11).toBeLessThan(0.055);
});

test('the change depends on the seed alone', () => {
  expect(copied({ kind: 'mask', amount: 0.2 }, 4)).toEqual(copied({ kind: 'mask', amount: 0.2 }, 4));
  expect(copied({ kind: 'mask', amount: 0.2 }, 4)).not.toEqual(copied({ kind: 'mask', amount: 0.2 }, 5));
});
