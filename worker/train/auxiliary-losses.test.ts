import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { loadModel, type LoadedModel } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: LoadedModel[] = [];
afterAll(() => opened.forEach((model) => model.close()));

const ids = Int32Array.from({ length: 24 }, (_, i) => 5 + ((i * 37) % 200));
const batch = unpaddedBatch(ids, 2, ids);
/** The router of the last layer: no other layer feels what it does. */
const router = 'layers.3.router';

async function load(options: Readonly<Record<string, unknown>>, name = 'full'): Promise<LoadedModel> {
  const model = await loadModel({ modelDir, method: { name, options }, threads: 1 });
  opened.push(model);
  return model;
}

test('KL to base routing: nothing at the start, and the gradient of a router that moved', async () => {
  const model = await load({ baseKlCoefficient: 1 });
  const weights = model.store.weight(router).data as Float32Array;
  const kl = async ({ executor, store } = model) => {
    const { auxiliary } = await executor.train(batch, 1, 1);
    store.clearGradients();
    return auxiliary[0]?.value ?? NaN;
  };
  expect(await kl()).toBeCloseTo(0, 6);
  const moved = weights.map((weight, at) => weight + 0.5 * Math.sin(at));
  weights.set(moved);
  expect(await kl()).toBeGreaterThan(0.01);

  // What the loss adds to the gradient, against differences of its value.
  const without = await load({});
  (without.store.weight(router).data as Float32Array).set(moved);
  await kl(without);
  const more = (model.store.gradient(router).data as Float32Array).map(
    (value, at) => value - Number(without.store.gradient(router).data[at]),
  );
  for (const at of [0, 100, 777, 1500]) {
    const shifted = async (by: number) => {
      weights[at] = (moved[at] ?? NaN) + by;
      const value = await kl();
      weights.set(moved);
      return value;
    };
    const difference = ((await shifted(0.05)) - (await shifted(-0.05))) / 0.1;
    expect(more[at]).toBeCloseTo(difference, 4);
    expect(Math.abs(difference)).toBeGreaterThan(1e-3);
  }
});

const shares = (scores: readonly number[]) => {
  const sum = scores.reduce((total, score) => total + score, 0);
  return scores.map((score) => score / sum);
};

test.each([
  { auxLossScores: 'model', probabilities: (z: number) => 1 / (1 + Math.exp(-z)) },
  { auxLossScores: 'softmax', probabilities: Math.exp },
])('a router that scores by sigmoid is balanced by its $auxLossScores', async (wanted) => {
  const { auxLossScores, probabilities } = wanted;
  const options = { score: 'sigmoid', auxLossCoefficient: 1, auxLossPooling: 'perSequence', auxLossScores };
  const { executor } = await load(options, 'loss-free-balancing');
  const { auxiliary } = await executor.train(batch, 1, 1);
  // Σ over layers of the mean over rows of Σ_e (count_e E / (S k)) · mean_s p_e.
  const { routing } = await executor.logits(batch, new Int32Array(0));
  let expected = 0;
  for (const { logits_NE, choice } of routing) {
    for (const row of [0, 1]) {
      const counts = new Array<number>(16).fill(0);
      for (const e of choice.chosen_NK.subarray(row * 24, (row + 1) * 24)) counts[e] = (counts[e] ?? 0) + 1;
      for (let token = 12 * row; token < 12 * (row + 1); token++) {
        const p = shares([...logits_NE.subarray(16 * token, 16 * (token + 1))].map(probabilities));
        p.forEach((share, e) => (expected += ((counts[e] ?? 0) * 16 * share) / (24 * 12 * 2)));
      }
    }
  }
  expect(auxiliary[0]?.value).toBeCloseTo(expected, 4);
});
