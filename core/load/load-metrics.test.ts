import { expect, test } from 'vitest';
import {
  deadExperts,
  gini,
  heaviest,
  jensenShannon,
  klDivergence,
  loadMetrics,
  overloaded,
  topShare,
  totalVariation,
} from './load-metrics.ts';

test('four experts, worked by hand', () => {
  const metrics = loadMetrics([50, 30, 15, 5]);
  expect(metrics.gini).toBeCloseTo(0.375, 12);
  expect(metrics.entropyNormalised).toBeCloseTo(0.823865, 6);
  expect(metrics.effectiveExperts).toBeCloseTo(3.133404, 6);
  expect(metrics.coefficientOfVariation).toBeCloseTo(0.678233, 6);
  expect(metrics.maxOverMean).toBe(2);
  expect(metrics.tailHalfShare).toBeCloseTo(0.2, 12);
  expect(metrics.tailQuarterShare).toBeCloseTo(0.05, 12);
  expect([metrics.dead, metrics.belowTenthOfMean, metrics.expertsForHalf]).toEqual([0, 0, 1]);
  const other = [40, 30, 20, 10];
  expect(klDivergence([50, 30, 15, 5], other)).toBeCloseTo(0.033762, 6);
  expect(jensenShannon([50, 30, 15, 5], other)).toBeCloseTo(0.008823, 6);
  expect(totalVariation([50, 30, 15, 5], other)).toBeCloseTo(0.1, 12);
});

test('uniform and one-expert loads are the two ends', () => {
  const uniform = loadMetrics([7, 7, 7, 7]);
  expect(uniform.gini).toBeCloseTo(0, 12);
  expect([uniform.entropyNormalised, uniform.maxOverMean, uniform.expertsForHalf]).toEqual([1, 1, 2]);
  const one = loadMetrics(Uint32Array.of(0, 0, 9, 0));
  expect([one.gini, one.entropyNormalised, one.dead, one.belowTenthOfMean, one.expertsForHalf]).toEqual([
    0.75, 0, 3, 3, 1,
  ]);
  expect(klDivergence([1, 1], [1, 0])).toBe(Infinity);
  expect(jensenShannon([1, 0], [0, 1])).toBeCloseTo(Math.LN2, 12);
});

test('the Gini coefficient does not depend on the scale of the counts', () => {
  const counts = Array.from({ length: 60 }, (_, i) => (i * 37) % 61);
  expect(gini(counts.map((count) => 2 * count))).toBeCloseTo(gini(counts), 12);
});

test('top share and overloaded experts', () => {
  expect(topShare([1, 2, 3, 4], 2)).toBeCloseTo(0.7, 12);
  expect(topShare([1, 2], 9)).toBe(1);
  expect(overloaded([10, 1, 1, 28], 1)).toEqual([3]);
  expect(overloaded([16, 1, 1, 22], 1.5)).toEqual([3, 0]);
});

test('always-active experts are not dead, and of equal experts the first is the heaviest', () => {
  expect(deadExperts([0, 3, 0, 0])).toEqual([0, 2, 3]);
  expect(deadExperts([0, 3, 0, 0], [2, 3])).toEqual([0]);
  expect(deadExperts([0, 0])).toEqual([]);
  expect([heaviest([1, 5, 5]), heaviest([0, 0])]).toEqual([1, 0]);
});

test('a layer without selections has no metrics', () => {
  expect(() => loadMetrics([0, 0])).toThrow('without selections');
  expect(gini([0, 0])).toBe(0);
});
