import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { gradientNorm, unpaddedBatch } from '#worker/engine/index.ts';
import { generalBatches, type GeneralBatch } from './general-routing.ts';
import { decoderPlanOf, loadModel, type LoadedModel } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: LoadedModel[] = [];
afterAll(() => opened.forEach((model) => model.close()));

/** Rows of 12 tokens as a loader gives them. */
const general = [3, 11, 19].map((factor, at) => {
  const ids = Int32Array.from({ length: 24 }, (_, i) => 5 + ((i * factor) % 190));
  return { ...unpaddedBatch(ids, 2), trainedTokens: 0, tokens: 24, epoch: 0, examples: [at] };
});
const place = { step: 0, microBatch: 1 };

async function load(options: Readonly<Record<string, unknown>>, name = 'full') {
  const method = { name, options: { baseKlCoefficient: 0.5, baseKlOn: 'general', ...options } };
  const model = await loadModel({ modelDir, method, threads: 1 });
  opened.push(model);
  const batches = await generalBatches(model, await decoderPlanOf(modelDir), general);
  const { executor, store } = model;
  /** Divergence on a micro-batch; the gradients are those of this alone. */
  const kl = async ({ batch, base_L }: GeneralBatch) => {
    store.clearGradients();
    const [loss] = await executor.trainGeneral(batch, base_L, place);
    return loss?.value ?? NaN;
  };
  return { model, batches, kl };
}

test('as many micro-batches as the sample has room for, at least one', async () => {
  const count = async (baseKlTokens: number) => (await load({ baseKlTokens })).batches.length;
  expect([await count(1), await count(50), await count(10_000)]).toEqual([1, 2, 3]);
  expect((await load({ baseKlOn: 'training' })).batches).toEqual([]);
});

test.each([
  ['full', {}],
  ['lora', { rank: 2, dropout: 0.5 }],
] as const)('nothing at the start of %s', async (name, options) => {
  const { batches, kl } = await load(options, name);
  for (const each of batches) expect(await kl(each)).toBeCloseTo(0, 9);
});

test('it is the untouched model that counts, where a method routes otherwise from the start', async () => {
  const gate = await load({ activation: 'tanh' }, 'transformed-gate');
  const { batches } = await load({});
  expect(gate.batches).toEqual(batches);
  for (const each of gate.batches) expect(await gate.kl(each)).toBeGreaterThan(0.1);
});

test('what it adds to the gradient is that of the divergence, below the routers too', async () => {
  const { model, batches, kl } = await load({});
  const { store } = model;
  const [first] = batches;
  if (first === undefined) throw new Error('there is a micro-batch');
  for (const layer of [0, 1, 2, 3]) {
    const router = store.weight(`layers.${layer}.router`).data as Float32Array;
    router.forEach((weight, at) => (router[at] = weight + 0.3 * Math.sin(at)));
  }
  expect(await kl(first)).toBeGreaterThan(0.01);
  for (const [id, at] of [
    ['layers.3.router', 777],
    ['layers.0.router', 100],
    ['layers.1.value', 40],
  ] as const) {
    await kl(first);
    const gradient = Number(store.gradient(id).data[at]);
    const weights = store.weight(id).data as Float32Array;
    const own = weights[at] ?? NaN;
    const valueAt = async (value: number) => {
      weights[at] = value;
      return kl(first);
    };
    const slope = ((await valueAt(own + 0.01)) - (await valueAt(own - 0.01))) / 0.02;
    weights[at] = own;
    expect(Math.abs(slope), id).toBeGreaterThan(1e-5);
    expect(Math.abs(gradient - 0.5 * slope), id).toBeLessThan(0.05 * Math.abs(slope) + 1e-5);
  }
});

test('routing on general data stays nearer to the untouched model, and the loss of training is that of the tokens', async () => {
  const settings = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const;
  const ids = Int32Array.from({ length: 48 }, (_, i) => 5 + ((i * 37) % 150));
  const trained = unpaddedBatch(ids, 2, ids);
  const train = async (isHeld: boolean) => {
    const { model, batches, kl } = await load({ baseKlCoefficient: 2 });
    const { executor, optimizer, store } = model;
    const losses: number[] = [];
    store.clearGradients();
    for (let step = 0; step < 8; step++) {
      const { lossSum, auxiliary } = await executor.train(trained, 46, 1);
      expect(auxiliary).toEqual([]);
      losses.push(lossSum);
      const own = batches[step % batches.length];
      if (isHeld && own) await executor.trainGeneral(own.batch, own.base_L, place);
      optimizer.step(settings, step + 1, 1e-3, gradientNorm(optimizer.gradientSquares()));
    }
    let moved = 0;
    for (const each of batches) moved += await kl(each);
    return { losses, moved };
  };
  const [held, free] = [await train(true), await train(false)];
  expect(held.losses[0]).toBe(free.losses[0]);
  expect(held.losses.at(-1)).toBeLessThan(0.8 * (held.losses[0] ?? NaN));
  expect(free.moved).toBeGreaterThan(1e-3);
  expect(held.moved).toBeLessThan(0.6 * free.moved);
});
