/** A comparison as text for a terminal. */
import type { Comparison } from '#core/contract/run.ts';
import { groupRows } from '#core/report/index.ts';
import { count, megabytes, number, table } from './terminal.ts';

type ComparedRun = Comparison['runs'][number];

/** Numbers of each run, results over seeds, what differs in the configurations, and caveats. */
export function describeComparison(comparison: Comparison): string {
  const { runs, rateChoice, differences, caveats } = comparison;
  const row = (title: string, of: (run: ComparedRun) => string) => [title, ...runs.map(of)];
  const optional = (value: number | undefined, show: (value: number) => string) =>
    value === undefined ? '–' : show(value);
  const mean = (values: readonly number[]) =>
    values.length === 0 ? '–' : number(values.reduce((sum, value) => sum + value, 0) / values.length, 3);
  const groups = groupRows(comparison);
  return [
    table([
      row('', (run) => run.name),
      row('run', (run) => run.id),
      row('method', (run) => run.method),
      row('state', (run) => run.state),
      row('steps', (run) => count(run.steps)),
      row('training loss, last tenth', (run) => optional(run.finalLoss, number)),
      row('validation loss, last', (run) => optional(run.finalValidationLoss, number)),
      ...(runs.some((run) => run.forgetting !== undefined)
        ? [row('forgetting on general data', (run) => optional(run.forgetting, (value) => number(value, 3)))]
        : []),
      row('tokens', (run) => count(run.tokens)),
      row('seconds', (run) => number(run.seconds, 3)),
      row('tokens/s', (run) => optional(run.tokensPerSecond, (value) => number(value, 3))),
      row('peak memory', (run) => optional(run.peakRssMB, megabytes)),
      row('trained parameters', (run) => optional(run.trainableParameters, count)),
      row('last checkpoint', (run) => optional(run.checkpointBytes, (bytes) => megabytes(bytes / 1e6))),
      row('active experts a token', (run) => optional(run.activeExperts, (value) => number(value, 3))),
      row('Gini of expert load, mean over layers', (run) => mean(run.gini_L)),
      row('routing drift (Jensen–Shannon), mean over layers', (run) => mean(run.drift_L)),
    ]),
    ...(groups.length === 0
      ? []
      : ['', 'Over seeds, mean ± half the width of its 95 % interval:', table(groups)]),
    ...(rateChoice.length === 0 ? [] : ['', ...rateChoice]),
    ...(differences.length === 0 ? [] : ['', 'Configuration that differs:']),
    ...(differences.length === 0
      ? []
      : [
          table(
            differences.map(({ field, values }) => [`  ${field}`, ...values.map((value) => value ?? '–')]),
          ),
        ]),
    ...(caveats.length === 0 ? [] : ['', ...caveats.map((caveat) => `Note: ${caveat}`)]),
  ].join('\n');
}
