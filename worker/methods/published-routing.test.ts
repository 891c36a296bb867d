/**
 * Figures that the authors of ExpertCondenser publish, from their own counts: how often each of 60 experts was chosen in the 24 layers of
 * Qwen1.5-MoE after the bias phase on Math7K (`routing_stats.json` of their repository, Apache-2.0, ExpertCondenser authors 2026).
 * Padding is counted there, and each choice twice.
 */
import { describe, expect, test } from 'vitest';
import { gini, loadMetrics } from '#core/load/load-metrics.ts';
import { allocateCondensers } from './condenser-selection.ts';
import published from './published-routing-counts.json' with { type: 'json' };

const { counts_LE } = published;
const ginis = counts_LE.map(gini);

test('the load of the first layer', () => {
  const [first = []] = counts_LE;
  const metrics = loadMetrics(first);
  const total = first.reduce((sum, count) => sum + count, 0);
  const busiest = first.toSorted((a, b) => b - a).slice(0, 6);
  expect(total).toBe(387_040);
  expect(metrics.gini).toBeCloseTo(0.6796363855587709, 14);
  expect(metrics.entropyNormalised).toBeCloseTo(0.778, 4);
  expect(metrics.coefficientOfVariation).toBeCloseTo(1.747, 3);
  expect(busiest.reduce((sum, count) => sum + count, 0) / total).toBeCloseTo(0.542, 3);
  expect(metrics.tailHalfShare).toBeCloseTo(0.073, 3);
  expect(metrics.dead).toBe(0);
});

test('Gini coefficients of the layers', () => {
  expect([Math.min(...ginis), Math.max(...ginis)]).toEqual([
    expect.closeTo(0.53, 3),
    expect.closeTo(0.68, 3),
  ]);
  expect(ginis.reduce((sum, value) => sum + value, 0) / ginis.length).toBeCloseTo(0.58, 3);
});

describe('48 condensers over 24 layers, at most four in one, by the Gini coefficient to a power', () => {
  const allocated = (power: number) =>
    allocateCondensers(
      ginis.map((value) => value ** power),
      48,
      4,
    );

  test('to the first power all layers get two', () => {
    expect(allocated(1)).toEqual(new Array<number>(24).fill(2));
  });

  test('to the second power one moves to the first layer', () => {
    expect(allocated(2)).toEqual([3, ...new Array<number>(12).fill(2), 1, ...new Array<number>(10).fill(2)]);
  });

  test('to the fifth power it is the published configuration', () => {
    const layers = allocated(5);
    expect(layers).toEqual([4, 4, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 2, 1, 1, 1, 2, 2, 1, 2, 2, 1]);
    const thirds = [0, 8, 16].map((from) =>
      layers.slice(from, from + 8).reduce((sum, condensers) => sum + condensers, 0),
    );
    expect(thirds).toEqual([22, 14, 12]);
  });
});
