import { expect, test } from 'vitest';
import { likeliest, sampled } from './generate.ts';

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
