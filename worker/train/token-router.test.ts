import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { gradientNorm, type MicroBatch } from '#worker/engine/index.ts';
import { startMethod } from '#worker/methods/index.ts';
import { isTokenRouter } from '#worker/model/index.ts';
import { finishStep } from './finish-step.ts';
import { loadModel, type LoadedModel } from './load-model.ts';
import { methodContext } from './method-context.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: LoadedModel[] = [];
afterAll(() => opened.forEach((model) => model.close()));

/** A model of which token routers alone train, so that what is chosen for a row stays. */
async function load(options: Readonly<Record<string, unknown>>): Promise<LoadedModel> {
  const method = { name: 'stablemoe', options: { balanceCoefficient: 0, ...options } };
  const model = await loadModel({ modelDir, method, threads: 1, trains: isTokenRouter });
  opened.push(model);
  return model;
}

/** Two rows of twelve tokens, of which six occur; four at the end are padding. */
const padded = (at: number) => at >= 20;
const inputIds = Int32Array.from({ length: 24 }, (_, at) => (padded(at) ? 0 : 5 + (at % 6)));
const batch: MicroBatch = {
  batch: 2,
  sequence: 12,
  inputIds,
  labels: inputIds.map((id, at) => (padded(at) ? -100 : id)),
  positions: inputIds.map((_, at) => at % 12),
  segments: inputIds.map((_, at) => Number(!padded(at))),
};

test('the gradient of token routers is that of their loss, over tokens that recur and without padding', async () => {
  const { executor, store } = await load({ distillCoefficient: 0.5, embeddingSize: 8 });
  const distillation = async () => {
    const { auxiliary } = await executor.train(batch, 1, 2);
    expect(auxiliary.map(({ name }) => name)).toEqual(['distillation']);
    return auxiliary[0];
  };
  const { value, weighted } = (await distillation()) ?? { value: NaN, weighted: NaN };
  // Scores are small before the first step, so that all 16 experts are about as likely.
  expect(value).toBeCloseTo(Math.log(16), 0);
  expect(weighted).toBeCloseTo((0.5 * value) / 2, 6);
  for (const [id, at] of [
    ['layers.0.tokenEmbedding', 5 * 8 + 3],
    ['layers.2.tokenEmbedding', 10 * 8],
    ['layers.1.tokenCentroids', 17],
    ['layers.3.tokenCentroids', 64],
  ] as const) {
    store.clearGradients();
    await distillation();
    const gradient = (store.gradient(id).data as Float32Array)[at] ?? NaN;
    const values = store.weight(id).data as Float32Array;
    const own = values[at] ?? NaN;
    const lossAt = async (changed: number) => {
      values[at] = changed;
      return (await distillation())?.weighted ?? NaN;
    };
    const slope = ((await lossAt(own + 0.1)) - (await lossAt(own - 0.1))) / 0.2;
    values[at] = own;
    expect(Math.abs(slope), id).toBeGreaterThan(1e-5);
    expect(Math.abs(gradient - slope), id).toBeLessThan(0.02 * Math.abs(slope) + 1e-6);
  }
  const padding = (store.gradient('layers.0.tokenEmbedding').data as Float32Array).subarray(0, 8);
  expect([...padding]).toEqual(new Array(8).fill(0));
});

test('what is learnt from frequent tokens is what is counted, and stays in stage 2', async () => {
  const model = await load({ stageSplit: 0.9 });
  const { executor, optimizer, store, session, plan, family } = model;
  const counted = startMethod(
    'stablemoe',
    { distilledBy: 'counts', stageSplit: 0.9 },
    methodContext(family, plan, { expertScores: null, submatrices: null, seed: 0 }),
  );
  const settings = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: null } as const;
  const totalSteps = 40;
  const step = async (at: number) => {
    const position = { step: at, totalSteps, microBatch: 0, microBatches: 1 };
    const { usage, auxiliary } = await executor.train(batch, 20, 1);
    for (const each of [session, counted]) each.afterMicroBatch(usage, position);
    const norm = gradientNorm(optimizer.gradientSquares());
    optimizer.step(settings, at + 1, 0.05, norm, session.frozen);
    const ofCounts = counted.afterStep(position);
    return { usage, loss: auxiliary[0]?.value, messages: finishStep(model, position), ofCounts };
  };
  const losses: number[] = [];
  for (let at = 0; at < 36; at++) {
    const { loss, messages, ofCounts } = await step(at);
    losses.push(loss ?? NaN);
    // No other table would make more of the choices than that of the counts, which share their places where they are equal.
    expect(messages).toEqual(ofCounts);
    expect(messages).toHaveLength(at === 35 ? 1 : 0);
  }
  expect(losses.at(-1)).toBeLessThan((losses[0] ?? NaN) / 2);
  // Moments and decay would move what has no gradient any more.
  const before = store.parameters.filter(isTokenRouter).map(({ id }) => store.values(id));
  const { usage, loss } = await step(36);
  expect(loss).toBeUndefined();
  expect(store.parameters.filter(isTokenRouter).map(({ id }) => store.values(id))).toEqual(before);
  const routed = (of: (layer: number, token: number) => Int32Array) =>
    usage.map(({ ids_N }, layer) =>
      [...ids_N.keys()].filter((at) => !padded(at)).map((at) => [...of(layer, at)]),
    );
  const two = (values: Int32Array | undefined, at: number) =>
    values?.subarray(2 * at, 2 * at + 2) ?? new Int32Array(0);
  expect(routed((layer, at) => two(usage[layer]?.choice.chosen_NK, at))).toEqual(
    routed((layer, at) => two(session.routerState().tokenExperts?.[layer], inputIds[at] ?? -1)),
  );
});
