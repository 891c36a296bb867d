/** Dropout of adapters through a whole model: masks in the value and its gradient are the same, and use knows of none. */
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { MicroBatch } from '#worker/engine/index.ts';
import { uniform } from '#worker/random/index.ts';
import { loadModel, type LoadRequest, type LoadedModel } from './load-model.ts';

const modelDir = join(import.meta.dirname, '../../resources/sample/sample-moe');
const opened: { close(): void }[] = [];
afterAll(() => opened.forEach((model) => model.close()));

/** A row without padding. */
function batchOf(sequence: number): MicroBatch {
  const ids = Int32Array.from({ length: sequence }, (_, i) => 5 + ((i * 37) % 200));
  return {
    batch: 1,
    sequence,
    inputIds: ids,
    labels: ids.slice(),
    positions: ids.map((_, i) => i),
    segments: ids.map(() => 1),
  };
}

/** A model whose adapters do something: neither A nor B is zero. */
async function modelOf(name: string, options: Record<string, unknown>, more: Partial<LoadRequest> = {}) {
  const model = await loadModel({ modelDir, method: { name, options }, threads: 1, ...more });
  opened.push(model);
  const { store } = model;
  for (const { id, role } of store.parameters.filter((parameter) => store.isTrained(parameter.id))) {
    if (role.endsWith('.loraB'))
      uniform(3, id, store.trainedWeight(id).length).forEach(
        (u, i) => (store.trainedWeight(id)[i] = (u - 0.5) / 2),
      );
  }
  store.publishWeights();
  return model;
}

const lossOf = async (model: LoadedModel, batch: MicroBatch, microBatch = 0, step = 0) => {
  model.store.clearGradients();
  const { lossSum } = await model.executor.train(batch, batch.inputIds.length, 1, { step, microBatch });
  return lossSum / batch.inputIds.length;
};

test('the loss depends on step, micro-batch and seed, and is the same at the same place', async () => {
  const batch = batchOf(40);
  const [one, other] = [
    await modelOf('lora', { rank: 4, dropout: 0.3 }),
    await modelOf('lora', { rank: 4, dropout: 0.3 }, { seed: 1 }),
  ];
  // Another seed is another A as well: take that of the first.
  for (const { id } of one.store.parameters.filter((parameter) => one.store.isTrained(parameter.id)))
    other.store.trainedWeight(id).set(one.store.trainedWeight(id));
  const losses = [
    await lossOf(one, batch),
    await lossOf(one, batch, 1),
    await lossOf(one, batch, 0, 1),
    await lossOf(other, batch),
  ];
  expect(new Set(losses).size).toBe(4);
  expect(await lossOf(one, batch)).toBe(losses[0]);
});

test('evaluation and logits are those without dropout, to the bit', async () => {
  const batch = batchOf(40);
  const [none, some] = [await modelOf('dora', { rank: 4 }), await modelOf('dora', { rank: 4, dropout: 0.3 })];
  expect(await some.executor.evaluate(batch)).toEqual(await none.executor.evaluate(batch));
  const at = Int32Array.of(7, 39);
  const { logits } = await some.executor.logits(batch, at);
  expect(logits).toEqual((await none.executor.logits(batch, at)).logits);
  expect(await lossOf(some, batch)).not.toBe(await lossOf(none, batch));
});

test.each([
  { name: 'lora', sequence: 40, moves: /loraB/, options: { rank: 4, dropout: 0.3 } },
  // Through attention in blocks.
  { name: 'lora', sequence: 300, moves: /loraB/, options: { rank: 4, dropout: 0.3, targets: ['attention'] } },
  // The norm of a row is a constant to the gradient of A and B, which differences would not follow.
  { name: 'dora', sequence: 40, moves: /magnitude/, options: { rank: 4, dropout: 0.3 } },
  // What the router learns from experts that were not chosen is no gradient of the loss.
  { name: 'densemixer', sequence: 40, moves: /^expertDown.loraB/, options: { adapters: { dropout: 0.3 } } },
])('$name, rows of $sequence: the gradient is that of the loss with its masks', async (given) => {
  const { name, sequence, moves, options } = given;
  const model = await modelOf(name, options);
  const { store } = model;
  const batch = batchOf(sequence);
  await lossOf(model, batch);
  store.completeGradients();
  // In the last layer, so that no choice of experts changes but by its own attention.
  const moved = store.parameters.filter(
    ({ id, role, layer }) => store.isTrained(id) && layer === 3 && moves.test(role),
  );
  const directions = moved.map(({ id }) => Float32Array.from(store.gradient(id).data as Float32Array));
  const square = directions.reduce((sum, g) => sum + g.reduce((s, x) => s + x * x, 0), 0);
  const along = async (by: number) => {
    const change = (sign: number) =>
      moved.forEach(({ id }, at) =>
        directions[at]?.forEach((g, i) => {
          const values = store.trainedWeight(id);
          values[i] = (values[i] ?? NaN) + sign * by * g;
        }),
      );
    change(1);
    const loss = await lossOf(model, batch);
    change(-1);
    return loss;
  };
  const step = 0.02 / Math.sqrt(square);
  const slope = ((await along(step)) - (await along(-step))) / (2 * step);
  expect(slope / square).toBeCloseTo(1, 2);
});
