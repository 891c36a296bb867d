import { expect, test } from 'vitest';
import { entropy, gini, jensenShannon, layerStats, sumRouting } from './routing-stats.ts';

const record = (step: number, counts: number[], more = {}) => ({
  step,
  counts_LE: Uint32Array.from(counts),
  ...more,
});

test('Gini is 0 for equal loads and 1 − 1/n when one expert takes all', () => {
  expect(gini([5, 5, 5, 5])).toBe(0);
  expect(gini([0, 0, 0, 8])).toBeCloseTo(0.75, 12);
  // Mean absolute difference of 1,2,3,4: Σ|xi−xj| / (2 n² mean) = 20 / (2·16·2.5).
  expect(gini([1, 2, 3, 4])).toBeCloseTo(0.25, 12);
  expect(gini([0, 0])).toBe(0);
});

test('entropy and divergence in nats', () => {
  expect(entropy([3, 3, 3, 3])).toBeCloseTo(Math.log(4), 12);
  expect(entropy([7, 0])).toBe(0);
  expect(jensenShannon([1, 1], [5, 5])).toBe(0);
  expect(jensenShannon([1, 0], [0, 1])).toBeCloseTo(Math.LN2, 12);
  expect(jensenShannon([0, 0], [0, 1])).toBeUndefined();
});

test('a window sums selections, keeps the last bias, and drops mass that one step lacks', () => {
  const window = sumRouting(
    [
      record(7, [1, 2, 3, 4], { mass_LE: Float32Array.of(1, 1, 1, 1) }),
      record(8, [1, 0, 0, 0], { bias_LE: Float32Array.of(0, -0.5, 0.25, 0) }),
    ],
    2,
    2,
  );
  expect(window).toMatchObject({ fromStep: 7, toStep: 8, steps: 2 });
  expect([...(window?.counts_LE ?? [])]).toEqual([2, 2, 3, 4]);
  expect(window?.mass_LE).toBeUndefined();
  expect([...(window?.bias_LE ?? [])]).toEqual([0, -0.5, 0.25, 0]);
  expect(sumRouting([], 2, 2)).toBeUndefined();
  expect(sumRouting([record(0, [1])], 2, 2)).toBeUndefined();
});

test('a layer lists dead and overloaded experts; always-active ones are not dead', () => {
  const window = sumRouting([record(0, [0, 0, 1, 9], { condensers: [[0]] })], 1, 4);
  const start = sumRouting([record(0, [5, 5, 0, 0])], 1, 4);
  const [layer] = window === undefined ? [] : layerStats(window, start);
  expect(layer).toMatchObject({
    dead: [1],
    overloaded: [3],
    overloadedShare: 0.9,
    condensers: [0],
    tokens: 10,
  });
  expect(layer?.peak).toBeCloseTo(3.6, 12);
  expect(layer?.drift).toBeCloseTo(Math.LN2, 12);
  expect(layer?.bias).toBeUndefined();
});
