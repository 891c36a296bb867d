import { join } from 'node:path';
import { expect, test } from 'vitest';
import { philox } from '#worker/random/index.ts';
import { loadModel, type LoadedModel } from '#worker/train/index.ts';
import { unpaddedBatch } from '../batch.ts';
import { FrozenHead } from './frozen-head.ts';
import type { HeadParts } from './head-parts.ts';
import { HeadRunner } from './head-runner.ts';
import { StagePrograms } from '../stages/stage-programs.ts';
import { Workspace } from '../workspace.ts';

const modelDir = join(import.meta.dirname, '../../../resources/sample/sample-moe');
const TOKENS = 40;

/** The sample model, whose checkpoint is bfloat16, with or without a head that trains. */
async function headOf(trainsHead: boolean): Promise<{ model: LoadedModel; parts: HeadParts }> {
  const method = { name: 'full', options: {} };
  const trains = trainsHead && (({ role }: { role: string }) => role === 'head');
  const model = await loadModel({ modelDir, method, trains, threads: 1 });
  const { plan, store, kernels, runtime, session, arena } = model;
  const programs = new StagePrograms(runtime, plan, session);
  return { model, parts: { plan, store, kernels, programs, workspace: new Workspace(arena) } };
}

function hiddenStates({ plan, workspace }: HeadParts) {
  const h = workspace.tensor(TOKENS, plan.hiddenSize);
  for (const i of h.data.keys()) h.data[i] = philox(7, i, 0)[0] / 2 ** 31 - 1;
  return h;
}

test('a head in slices has the losses, gradients and logits of the whole', async () => {
  const [whole, frozen] = [await headOf(true), await headOf(false)];
  const { plan } = whole.model;
  const { vocabularySize: vocabulary, hiddenSize: hidden } = plan;
  const ids = Int32Array.from({ length: TOKENS }, (_, i) => philox(8, i, 0)[0] % vocabulary);
  // The ends of slices too.
  ids.set([0, vocabulary - 1, 299, 300], 1);
  const batch = unpaddedBatch(ids, 2, ids);
  const weights = Float32Array.from(ids.subarray(2), (_, i) => 1 + (i % 3));
  const results = async ({ parts }: typeof whole) => {
    const runner = new HeadRunner(parts);
    const h = hiddenStates(parts);
    const dH = parts.workspace.tensor(TOKENS, hidden);
    const { lossSum } = await runner.lossBackward(batch, h, dH, 17, weights);
    const at = Int32Array.of(3, 0, 39);
    return {
      lossSum,
      losses: await runner.losses(batch, h),
      gradient: dH.data.slice(),
      logits: await runner.logits(h, at),
      predictions: await runner.predictions(h, at),
    };
  };
  const [expected, actual] = [await results(whole), await results(frozen)];
  expect(actual.lossSum).toBeCloseTo(expected.lossSum, 3);
  expectClose(actual.losses, expected.losses, 1e-5);
  expectClose(actual.gradient, expected.gradient, 1e-6);
  expectClose(actual.logits, expected.logits, 1e-5);
  expect(actual.predictions).toEqual(expected.predictions);

  // Slices that do not divide the vocabulary.
  const sliced = FrozenHead.of(frozen.parts, 'head', 300 * hidden);
  const h = hiddenStates(frozen.parts);
  const at = Int32Array.of(5, 7, 39);
  const targets = Int32Array.of(299, 300, vocabulary - 1);
  const gradient = frozen.parts.workspace.tensor(3, hidden);
  const losses = await sliced?.losses(h, at, targets, gradient);
  const once = frozen.parts.workspace.tensor(3, hidden);
  const lossesAtOnce = await FrozenHead.of(frozen.parts, 'head')?.losses(h, at, targets, once);
  expectClose(losses, lossesAtOnce, 1e-5);
  expectClose(gradient.data, once.data, 1e-6);
  expectClose(await sliced?.logits(h, Int32Array.of(3, 0, 39)), expected.logits, 1e-5);
  expect(await sliced?.predictions(h, Int32Array.of(3, 0, 39))).toEqual(expected.predictions);
  for (const { model } of [whole, frozen]) model.close();
});

test('a head that trains, or whose norm does, is not taken in slices', async () => {
  const { model, parts } = await headOf(true);
  expect(FrozenHead.of(parts, 'head')).toBeNull();
  model.close();
  const trains = ({ role }: { role: string }) => role === 'finalNorm';
  const other = await loadModel({ modelDir, method: { name: 'full', options: {} }, trains, threads: 1 });
  expect(FrozenHead.of({ ...parts, store: other.store }, 'head')).toBeNull();
  other.close();
});

function expectClose(actual: Float32Array | undefined, expected: Float32Array | undefined, limit: number) {
  expect(actual).toHaveLength(expected?.length ?? NaN);
  const off = Math.max(...Array.from(actual ?? [], (value, i) => Math.abs(value - (expected?.[i] ?? NaN))));
  expect(off).toBeLessThan(limit);
}
