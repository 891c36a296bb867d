import { expect, test } from 'vitest';
import { epochOrder, splitPoint } from './order.ts';

test('an order is a permutation, the same for the same seed and epoch only', () => {
  const order = epochOrder(1000, 7, 3);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, index) => index));
  expect(epochOrder(1000, 7, 3)).toEqual(order);
  expect(epochOrder(1000, 7, 4)).not.toEqual(order);
  expect(epochOrder(1000, 8, 3)).not.toEqual(order);
});

test('every example is equally likely in every place', () => {
  const counts = Array.from({ length: 25 }, () => 0);
  const trials = 5000;
  for (let seed = 0; seed < trials; seed++) {
    for (const [place, example] of epochOrder(5, seed, 0).entries()) {
      counts[5 * place + example] = (counts[5 * place + example] ?? 0) + 1;
    }
  }
  // Chi-square over 25 cells with 16 degrees of freedom; 39.3 is exceeded once in a thousand.
  const expected = trials / 5;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  expect(chiSquare).toBeLessThan(39.3);
});

test('split points are uniform and depend on the seed', () => {
  const points = Array.from({ length: 10_000 }, (_, index) => splitPoint(1, index * 2 ** 33 + 5));
  const below = points.filter((point) => point < 0.02).length;
  expect(below).toBeGreaterThan(150);
  expect(below).toBeLessThan(250);
  expect(splitPoint(2, 5)).not.toBe(splitPoint(1, 5));
});
