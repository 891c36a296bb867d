import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { MicroBatch } from '#worker/engine/index.ts';
import { loadModel, type LoadedModel, type LoadRequest } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: LoadedModel[] = [];
afterAll(() => opened.forEach((model) => model.close()));

/** A row of 20 tokens and a row of 12 with padding at its end. */
const real = (i: number) => i < 32;
const ids = Int32Array.from({ length: 40 }, (_, i) => (real(i) ? 5 + ((i * 37) % 200) : 0));
const batch: MicroBatch = {
  batch: 2,
  sequence: 20,
  inputIds: ids,
  labels: ids.map((id, i) => (real(i) ? id : -100)),
  positions: ids.map((_, i) => i % 20),
  segments: ids.map((_, i) => Number(real(i))),
};

/** One micro-batch under a method: its result, and the gradients of the last layer. */
async function trainOnce(method: LoadRequest['method']) {
  const model = await loadModel({ modelDir, method, threads: 1 });
  opened.push(model);
  const result = await model.executor.train(batch, 30, 1);
  model.store.completeGradients();
  return { model, result, gradient: (id: string) => model.store.gradient(id).data };
}

const LAST = 3;
const EXPERTS = 16;

test('DenseMixer: the forward pass and what experts learn are as ever, the router learns something else', async () => {
  const full = await trainOnce({ name: 'full', options: {} });
  const dense = await trainOnce({ name: 'densemixer', options: {} });
  expect(dense.result).toEqual(full.result);
  const { hard_E } = dense.result.usage[LAST] ?? {};
  for (let expert = 0; expert < EXPERTS; expert++) {
    for (const role of ['expertGate', 'expertUp', 'expertDown']) {
      const id = `layers.${LAST}.experts.${expert}.${role}`;
      expect(dense.gradient(id), id).toEqual(full.gradient(id));
      // An expert no token is sent to learns nothing, though it was evaluated.
      expect(
        dense.gradient(id).some((value) => Number(value) !== 0),
        id,
      ).toBe(hard_E?.[expert] !== 0);
    }
  }
  expect(hard_E).toContain(0);
  const router = `layers.${LAST}.router`;
  expect(dense.gradient(router)).not.toEqual(full.gradient(router));
  expect(await dense.model.executor.evaluate(batch)).toEqual(await full.model.executor.evaluate(batch));
});
