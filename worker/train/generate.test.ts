import { join } from 'node:path';
import { expect, test } from 'vitest';
import { generateTokens, likeliest, sampled } from './generate.ts';
import { loadModel } from './load-model.ts';

test('the likeliest token is the lower id of equals', () => {
  expect(likeliest(Float32Array.of(-3, 2, 2, -7), 0, 0)).toBe(1);
});

test('tokens are drawn with their probabilities at the temperature', () => {
  const probabilities = [0.1, 0.2, 0, 0.7];
  const logits_V = Float32Array.from(probabilities, Math.log);
  const draws = 20_000;
  for (const temperature of [1, 0.5]) {
    const next = sampled(temperature, 7);
    const counts = [0, 0, 0, 0];
    for (let made = 0; made < draws; made++) {
      const id = next(logits_V, made, 0);
      counts[id] = (counts[id] ?? 0) + 1;
    }
    const powers = probabilities.map((p) => p ** (1 / temperature));
    const total = powers.reduce((sum, power) => sum + power, 0);
    powers.forEach((power, id) => expect((counts[id] ?? 0) / draws).toBeCloseTo(power / total, 1.8));
  }
});

test('what is drawn depends on seed, place and row, and on nothing else', () => {
  const logits_V = new Float32Array(1000);
  const drawn = (seed: number, made: number, row: number) => sampled(1, seed)(logits_V, made, row);
  expect(drawn(3, 4, 5)).toBe(drawn(3, 4, 5));
  expect(new Set([drawn(3, 4, 5), drawn(2, 4, 5), drawn(3, 5, 5), drawn(3, 4, 6)]).size).toBe(4);
});

test('rows that end leave the others what they would have been alone', async () => {
  const model = await loadModel({
    modelDir: join(import.meta.dirname, '../../resources/sample/sample-moe'),
    method: { name: 'full', options: {} },
    trains: false,
    threads: 1,
  });
  try {
    const prompts = [[5, 17, 33], [8], [70, 71, 72, 73, 74, 75, 76], [12, 40]].map((ids) =>
      Int32Array.from(ids),
    );
    /** Tokens of each of the rows, which end after so many. */
    const made = async (rows: readonly Int32Array[], lengths: readonly number[]) => {
      const ids = rows.map((): number[] => []);
      await generateTokens(model.executor, rows, 9, (id, row) => {
        const own = ids[row] ?? [];
        own.push(id);
        return own.length < (lengths[row] ?? 0);
      });
      return ids;
    };
    const lengths = [9, 2, 6, 4];
    const together = await made(prompts, lengths);
    expect(together.map(({ length }) => length)).toEqual(lengths);
    for (const [row, prompt] of prompts.entries())
      expect([together[row]]).toEqual(await made([prompt], [lengths[row] ?? 0]));
  } finally {
    model.close();
  }
});
