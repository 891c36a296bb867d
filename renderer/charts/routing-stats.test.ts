import { expect, test } from 'vitest';
import { layerStats, sumRouting } from './routing-stats.ts';

const record = (step: number, counts: number[], more = {}) => ({
  step,
  counts_LE: Uint32Array.from(counts),
  ...more,
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
    condensers: [0],
  });
  expect(layer?.gini).toBeCloseTo(0.7, 12);
  expect(layer?.entropy).toBeCloseTo(-0.1 * Math.log(0.1) - 0.9 * Math.log(0.9), 12);
  expect(layer?.drift).toBeCloseTo(Math.LN2, 12);
  expect(layer?.bias).toBeUndefined();
});

test('a layer without selections has no drift, and no expert of it is dead', () => {
  const window = sumRouting([record(0, [0, 0, 3, 1])], 2, 2);
  const [none, some] = window === undefined ? [] : layerStats(window, window);
  expect(none).toEqual({ row: 0, gini: 0, entropy: 0, effective: 1, dead: [], overloaded: [] });
  expect(some).toMatchObject({ row: 1, drift: 0 });
});
