/** The table of measures, one row a measure and one column a run. */
import { suiteKey, type SuiteScore } from '#core/contract/suite-score.ts';
import type { RunReport } from './report-data.ts';
import { count, duration, percent, short, significant } from './format.ts';

const GENERAL = 'Loss on general data, before and after';

/** Megabytes of 10^6 bytes, in the unit that fits. */
const memory = (megabytes: number) =>
  megabytes < 1000 ? `${significant(megabytes, 3)} MB` : `${significant(megabytes / 1000, 3)} GB`;

const measures: readonly (readonly [string, (run: RunReport) => string | undefined])[] = [
  ['State', (run) => (run.reason === undefined ? run.state : `${run.state}: ${run.reason}`)],
  ['Method', (run) => run.method],
  ['Base model', (run) => run.modelName],
  [
    'Trained parameters',
    ({ facts }) =>
      facts === null
        ? undefined
        : `${short(facts.trainableParameters)} of ${short(facts.totalParameters)} ` +
          `(${percent(facts.trainableParameters / facts.totalParameters)})`,
  ],
  [
    'Steps',
    ({ totals, facts }) =>
      facts === null ? count(totals.steps) : `${count(totals.steps)} of ${count(facts.totalSteps)}`,
  ],
  ['Final training loss', ({ totals }) => number(totals.finalLoss)],
  ['Final validation loss', ({ totals }) => number(totals.finalValidation?.loss)],
  [
    'Lowest validation loss',
    ({ totals: { bestValidation: best } }) => best && `${significant(best.loss)} (step ${count(best.step)})`,
  ],
  [
    GENERAL,
    ({ totals: { general } }) => general && `${significant(general.first)} → ${significant(general.final)}`,
  ],
  ['Tokens', ({ totals }) => short(totals.tokens)],
  ['Trained tokens', ({ totals }) => short(totals.trainedTokens)],
  ['Time in steps', ({ totals }) => duration(totals.seconds)],
  ['Tokens per second', ({ totals }) => number(totals.tokensPerSecond, 3)],
  ['Peak memory', ({ totals: { peakRssMB: peak } }) => (peak === undefined ? undefined : memory(peak))],
  [
    'Gini, mean over layers, last tenth',
    ({ routing }) => number(mean(routing?.layers.map((layer) => layer.lastGini)), 3),
  ],
  [
    'Drift, mean over layers, nats',
    ({ routing }) => number(mean(routing?.layers.flatMap((layer) => layer.drift ?? [])), 3),
  ],
];

/**
 * Rows of label and one value a run; a dash where nothing was measured, no row of general data where no run has any, and one for
 * each suite of questions that a run was asked.
 */
export function resultRows(runs: readonly RunReport[]): string[][] {
  const suites = new Map(runs.flatMap(({ scores }) => scores.map((score) => [suiteKey(score), score.suite])));
  return [
    ...measures
      .filter(([label]) => label !== GENERAL || runs.some(({ totals }) => totals.general))
      .map(([label, of]) => [label, ...runs.map((run) => of(run) ?? '–')]),
    ...[...suites].map(([key, suite]) => [
      `Right answers, ${suite}`,
      ...runs.map((run) => scoreText(run.scores.find((score) => suiteKey(score) === key))),
    ]),
  ];
}

function scoreText(score: SuiteScore | undefined): string {
  if (score === undefined) return '–';
  const { accuracy, correct, n, of, published, step } = score;
  const [share, low, high, other] = [
    accuracy.share,
    accuracy.low,
    accuracy.high,
    published.accuracy.share,
  ].map((value) => significant(100 * value, 3));
  const at = step === undefined ? '' : ` at step ${count(step)}`;
  const left = of === undefined ? '' : ` (stopped before the other ${count(of - n)})`;
  return `${share} % (${low} to ${high}), ${count(correct)} of ${count(n)}${left}${at} [${other} %]`;
}

/** `value` as text, or undefined. */
function number(value: number | undefined, digits = 4): string | undefined {
  return value === undefined ? undefined : significant(value, digits);
}

function mean(values: readonly number[] = []): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}
