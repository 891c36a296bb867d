import { afterAll, expect, test } from 'vitest';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { attentionModels } from './attention-models.fixture.ts';
import { loadModel } from './load-model.ts';

const opened: { close(): void }[] = [];
afterAll(() => opened.forEach((model) => model.close()));

const load = async (modelDir: string) => {
  const model = await loadModel({
    modelDir,
    method: { name: 'full', options: {} },
    trains: false,
    threads: 1,
  });
  opened.push(model);
  return model;
};

/** Token `place` of row `row`. */
const idOf = (row: number, place: number) => 5 + ((place * place + (7 * row + 3) * place) % 90);
const rowOf = (row: number, length: number) => Int32Array.from({ length }, (_, place) => idOf(row, place));

function expectClose(actual: Float32Array, expected: Float32Array): void {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (actual[i] ?? NaN))), 0);
  expect(worst).toBeLessThan(2e-5 * scale);
}

test.each(attentionModels)(
  'rows decoded from their caches give the logits of whole rows (%s)',
  async (_name, modelDir) => {
    const { executor, plan } = await load(modelDir);
    // The first is longer than a block of queries, and than every window.
    const lengths = [300, 9, 800];
    const steps = 3;
    await executor.decode(lengths.length, 810, async (decoder) => {
      const fed = await decoder.feed(lengths.map((length, row) => rowOf(row, length)));
      for (const [row, length] of lengths.entries()) {
        const whole = await executor.logits(unpaddedBatch(rowOf(row, length)), Int32Array.of(length - 1));
        expectClose(fed.subarray(row * plan.vocabularySize, (row + 1) * plan.vocabularySize), whole.logits);
      }
      for (let step = 0; step < steps; step++) {
        const logits = await decoder.step(
          Int32Array.from(lengths, (length, row) => idOf(row, length + step)),
        );
        for (const [row, length] of lengths.entries()) {
          const seen = length + step + 1;
          const whole = await executor.logits(unpaddedBatch(rowOf(row, seen)), Int32Array.of(seen - 1));
          const own = logits.subarray(row * plan.vocabularySize, (row + 1) * plan.vocabularySize);
          expectClose(own, whole.logits);
        }
      }
    });
  },
);

test('a row that outgrows its cache is a broken invariant', async () => {
  const [, modelDir] = attentionModels[0] ?? ['', ''];
  const { executor } = await load(modelDir);
  await executor.decode(1, 4, async (decoder) => {
    await decoder.feed([rowOf(0, 4)]);
    await expect(decoder.step(Int32Array.of(5))).rejects.toThrow('a cache for 4 tokens cannot hold 5');
  });
});
