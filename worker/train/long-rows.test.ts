import { afterAll, expect, test } from 'vitest';
import type { MicroBatch } from '#worker/engine/index.ts';
import { attentionModels } from './attention-models.fixture.ts';
import { loadModel } from './load-model.ts';

const opened: { close(): void }[] = [];
afterAll(() => opened.forEach((model) => model.close()));

const LENGTH = 150;

/** Two examples, in rows of their own or packed into one, which then is long enough to go through attention in blocks. */
function examples(packed: boolean): MicroBatch {
  const places = Array.from({ length: 2 * LENGTH }, (_, i) => i);
  const ids = Int32Array.from(places, (i) => 5 + ((i * i + 3 * i) % 90));
  return {
    batch: packed ? 1 : 2,
    sequence: packed ? 2 * LENGTH : LENGTH,
    inputIds: ids,
    // A row's first token has nothing before it; that of the packed second example must not have either.
    labels: ids.map((id, i) => (i % LENGTH === 0 ? -100 : id)),
    positions: Int32Array.from(places, (i) => i % LENGTH),
    segments: Int32Array.from(places, (i) => (packed ? 1 + Math.floor(i / LENGTH) : 1)),
  };
}

async function gradients(modelDir: string, batch: MicroBatch) {
  const model = await loadModel({ modelDir, method: { name: 'full', options: {} }, threads: 1 });
  opened.push(model);
  const { lossSum, trainedTokens } = await model.executor.train(batch, 2 * LENGTH - 2, 1);
  const { store } = model;
  store.completeGradients();
  const trained = store.parameters.filter(({ id }) => store.isTrained(id));
  return {
    lossSum,
    trainedTokens,
    gradients: new Map(
      trained.map(({ id }) => [id, Float32Array.from(store.gradient(id).data as Float32Array)]),
    ),
  };
}

const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

test.each(attentionModels)(
  'rows that go through attention in blocks give what short rows give (%s)',
  async (_name, dir) => {
    const apart = await gradients(dir, examples(false));
    const packed = await gradients(dir, examples(true));
    expect(packed.trainedTokens).toBe(apart.trainedTokens);
    expect(packed.lossSum / apart.lossSum).toBeCloseTo(1, 5);
    for (const [id, gradient] of apart.gradients) {
      const other = packed.gradients.get(id) ?? new Float32Array(gradient.length);
      const difference = norm(gradient.map((value, i) => value - (other[i] ?? 0)));
      expect(difference, id).toBeLessThan(2e-4 * norm(gradient) + 1e-9);
    }
  },
);
