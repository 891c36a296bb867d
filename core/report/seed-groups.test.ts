import { expect, test } from 'vitest';
import { Comparison } from '#core/contract/run.ts';
import { compareRuns } from './compare-runs.ts';
import { estimateOf, tQuantile } from './metrics/confidence.ts';
import { groupRows } from './group-rows.ts';
import { runFixture, type RunShape } from './testing/run-fixture.ts';

test('quantiles of Student’s t as tables print them', () => {
  expect([1, 2, 9, 30].map(tQuantile)).toEqual([12.7062, 4.3027, 2.2622, 2.0423]);
  // Beyond the table by expansion.
  expect(tQuantile(40)).toBeCloseTo(2.0211, 3);
  expect(tQuantile(120)).toBeCloseTo(1.9799, 4);
});

test('an interval is t · s / √n, and one value has none', () => {
  // Standard deviation of 1, 2, 3 is 1.
  expect(estimateOf([1, 2, 3])).toMatchObject({ mean: 2, runs: 3 });
  expect(estimateOf([1, 2, 3])?.half).toBeCloseTo(4.3027 / Math.sqrt(3), 12);
  expect(estimateOf([5])).toEqual({ mean: 5, runs: 1 });
  expect(estimateOf([])).toBeUndefined();
});

const one = (method: string, seed: number, validation: number, more: RunShape = {}) =>
  runFixture({
    id: `run_${method}-${seed}`,
    name: `fair · ${method} · seed ${seed}`,
    evaluations: [[100, validation]],
    spec: { method: { name: method }, train: { steps: 100, seed } },
    ...more,
  });

test('runs that differ in their seed alone are one group, and differences are paired by seed', () => {
  const comparison = compareRuns([
    one('full', 1, 1.0),
    one('lora', 1, 1.2),
    one('full', 2, 2.0),
    one('lora', 2, 2.2),
  ]);
  expect(Comparison.parse(comparison)).toEqual(comparison);
  const [full, lora] = comparison.groups;
  expect(full).toMatchObject({ label: 'fair · full', method: 'full', seeds: [1, 2] });
  expect(full?.measures.validationLoss?.mean).toBeCloseTo(1.5, 12);
  // s = 0.7071, n = 2.
  expect(full?.measures.validationLoss?.half).toBeCloseTo(12.7062 * 0.5, 6);
  expect(full?.difference).toBeUndefined();
  // The seeds move both alike: what is left between the methods is exact.
  expect(lora?.difference?.mean).toBeCloseTo(0.2, 12);
  expect(lora?.difference?.half).toBeCloseTo(0, 9);
  expect(lora?.runs).toEqual(['run_lora-1', 'run_lora-2']);
});

test('runs that did not complete are in the group but not in its numbers; a seed counts once', () => {
  const comparison = compareRuns([
    one('full', 1, 1.0),
    one('full', 1, 1.1, { id: 'run_again' }),
    one('full', 2, 9, { state: 'stopped' }),
  ]);
  const [group] = comparison.groups;
  expect(group?.runs).toHaveLength(3);
  expect(group?.seeds).toEqual([1]);
  expect(group?.measures.validationLoss).toEqual({ mean: 1.1, runs: 1 });
});

test('active experts are counted from what was routed', () => {
  // 1,000 tokens a step; two layers of four experts with 500 choices each: k = 2, and one condenser in one layer.
  const comparison = compareRuns([one('full', 1, 1, { load: () => 500, condensers: [[3], []] })]);
  expect(comparison.runs[0]?.activeExperts).toBe(2.5);
});

test('what a caveat spoils is named and marked', () => {
  const fair = compareRuns([one('full', 1, 1), one('lora', 1, 1)]);
  expect(fair.notComparable).toEqual([]);
  const masked = compareRuns([
    one('full', 1, 1),
    one('full', 2, 1),
    one('lora', 1, 1, {
      spec: {
        data: { train: [{ path: '/data/rows.jsonl' }], lossOn: 'all' },
        method: { name: 'lora' },
        train: { steps: 100, seed: 1 },
      },
    }),
  ]);
  expect(masked.notComparable).toEqual(['validationLoss', 'trainingLoss']);
  const [head = []] = groupRows(masked);
  expect(head.filter((title) => title.endsWith('≠'))).toEqual(['validation loss ≠', 'training loss ≠']);
});

test('the rows say mean ± half width, and a single run has no interval', () => {
  const comparison = compareRuns([one('full', 1, 1), one('full', 2, 2), one('lora', 1, 1.25)]);
  const [head = [], full = [], lora = []] = groupRows(comparison);
  const column = head.indexOf('validation loss');
  expect([full[column], lora[column]]).toEqual(['1.5 ± 6.353', '1.25']);
  expect(full[head.indexOf('seeds')]).toBe('1, 2');
  // The same in every seed: an interval of no width is left out.
  expect(full[head.indexOf('trained')]).toBe('1.2 M');
  expect(lora[head.indexOf('against “fair · full”, paired by seed')]).toBe('+0.25');
});
