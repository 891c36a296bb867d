import { expect, test } from 'vitest';
import { Comparison } from '#core/contract/run.ts';
import { buildReport } from './build-report.ts';
import { compareRuns } from './compare-runs.ts';
import { groupRows } from './group-rows.ts';
import { runFixture, type RunShape } from './testing/run-fixture.ts';
import { toHtml } from './writers/to-html.ts';
import { toMarkdown } from './writers/to-markdown.ts';

const one = (method: string, rate: number, seed: number, validation: number, more: RunShape = {}) =>
  runFixture({
    id: `run_${method}-${rate * 1e6}-${seed}`,
    name: `fair · ${method} · rate ${rate.toExponential()} · seed ${seed}`,
    evaluations: [[100, validation]],
    spec: { method: { name: method }, train: { steps: 100, seed, learningRate: rate } },
    ...more,
  });

const swept = [
  one('full', 1e-5, 1, 1.3),
  one('full', 1e-4, 1, 1.0),
  one('full', 1e-3, 1, 1.6),
  one('lora', 1e-4, 1, 1.2),
  one('lora', 1e-3, 1, 1.1),
  one('full', 1e-5, 2, 1.5),
  one('full', 1e-4, 2, 1.2),
  one('full', 1e-3, 2, 1.4),
  one('lora', 1e-4, 2, 1.5),
  one('lora', 1e-3, 2, 1.4),
];

test('every rate has its mean and interval, and each method is compared at its best', () => {
  const comparison = compareRuns(swept);
  expect(Comparison.parse(comparison)).toEqual(comparison);
  expect(
    comparison.groups.map(({ label, learningRate, bestRate }) => [label, learningRate, bestRate]),
  ).toEqual([
    ['fair · full', 1e-5, false],
    ['fair · full', 1e-4, true],
    ['fair · full', 1e-3, false],
    ['fair · lora', 1e-4, false],
    ['fair · lora', 1e-3, true],
  ]);
  const [, full, , , lora] = comparison.groups;
  expect(full?.measures.validationLoss?.mean).toBeCloseTo(1.1, 12);
  // s = 0.1414, n = 2: 12.7062 · 0.1.
  expect(full?.measures.validationLoss?.half).toBeCloseTo(1.27062, 6);
  // Best against best, seed by seed: 0.1 and 0.2.
  expect(lora?.difference?.mean).toBeCloseTo(0.15, 12);
  // Other rates are held against the best one of the first method too: 1.3 − 1.0 and 1.5 − 1.2.
  expect(comparison.groups[0]?.difference?.mean).toBeCloseTo(0.3, 12);
  expect(full?.difference).toBeUndefined();
  expect(comparison.rateChoice).toEqual([
    '“fair · full” is compared at learning rate 1e-4, which has the lowest mean validation loss of 1e-5, 1e-4 and 1e-3 (1.1 ± 1.271).',
    '“fair · lora” is compared at learning rate 1e-3, which has the lowest mean validation loss of 1e-4 and 1e-3 (1.25 ± 1.906). It is the highest rate tried; a better one may lie beyond.',
    'At these rates the validation loss of “fair · lora” is 0.15 ± 0.635 higher than that of “fair · full”, seed by seed. The interval includes no difference at all.',
    expect.stringMatching(/same validation rows .* a method had \(“fair · full” 3 and “fair · lora” 2\)/),
  ]);
  expect(comparison.caveats).toEqual([]);
});

test('a rate without a loss at every seed is not chosen, however low its loss at the others', () => {
  const { groups, rateChoice } = compareRuns([
    one('full', 1e-4, 1, 1.2),
    one('full', 1e-3, 1, 0.5),
    one('full', 1e-4, 2, 1.4),
    one('full', 1e-3, 2, 9, { state: 'failed' }),
  ]);
  expect(groups.map(({ bestRate }) => bestRate)).toEqual([true, false]);
  expect(rateChoice[0]).toContain('1e-3 does not count: no validation loss at every seed.');
});

test('where no rate has every seed, none stands for its method', () => {
  const { groups, rateChoice } = compareRuns([
    one('full', 1e-4, 1, 1.2),
    one('full', 1e-3, 1, 0.5),
    one('full', 1e-4, 2, 1, { state: 'running' }),
    one('full', 1e-3, 2, 1, { state: 'queued' }),
    one('lora', 1e-4, 1, 1.3),
  ]);
  expect(groups.map(({ bestRate }) => bestRate)).toEqual([false, false, undefined]);
  expect(rateChoice).toEqual([
    'No learning rate stands for “fair · full”: none of 1e-4 and 1e-3 has a validation loss at every seed.',
  ]);
});

test('methods with one rate each are no sweep, but their rates are shown where they differ', () => {
  const comparison = compareRuns([
    one('full', 1e-5, 1, 1),
    one('lora', 1e-4, 1, 2),
    one('full', 1e-5, 2, 1),
    one('lora', 1e-4, 2, 2),
  ]);
  expect(comparison.rateChoice).toEqual([]);
  expect(comparison.groups[1]?.difference?.mean).toBe(1);
  const [head = [], , lora = []] = groupRows(comparison);
  expect(lora[head.indexOf('learning rate')]).toBe('1e-4');
});

test('tables and reports show the rates, the best one marked, also over one seed', () => {
  const runs = swept.slice(0, 5);
  const [head = [], ...rows] = groupRows(compareRuns(runs));
  const column = head.indexOf('learning rate');
  expect(rows.map((row) => row[column])).toEqual(['1e-5', '1e-4 (best)', '1e-3', '1e-4', '1e-3 (best)']);
  const against = head.indexOf('against “fair · full” at 1e-4, paired by seed');
  expect(rows.map((row) => row[against])).toEqual(['+0.3', '–', '+0.6', '+0.2', '+0.1']);
  const report = buildReport(runs, { createdMs: 0, program: 'Condenser' });
  for (const text of [toHtml(report), toMarkdown(report)]) {
    expect(text).toContain('1e-4 (best)');
    expect(text).toContain('is compared at learning rate 1e-4');
    expect(text).toContain('on the low side');
  }
});
