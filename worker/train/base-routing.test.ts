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

async function load(options: Readonly<Record<string, number>>): Promise<LoadedModel> {
  const model = await loadModel({ modelDir, method: { name: 'full', options }, threads: 1 });
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
