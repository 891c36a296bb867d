import type { ReactNode } from 'react';
import { Link } from 'wouter';
import type { Comparison, Measure } from '#core/contract/run.ts';
import { Card } from '../../ui/card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { type Column, DataTable, tableText } from '../../ui/data-table.tsx';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatLarge,
  formatMB,
  formatNumber,
} from '../../ui/format.ts';

type Run = Comparison['runs'][number];

const mean = (values: readonly number[]) =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Behind the title of a measure that the caveats above make incomparable. */
export const NOT_COMPARABLE = '≠';

/** A number column; absent stays absent. */
function measure(
  key: string,
  title: string,
  value: (run: Run) => number | undefined,
  format: (value: number) => string,
): Column<Run> {
  return {
    key,
    title,
    value,
    cell: (run): ReactNode => {
      const measured = value(run);
      return measured === undefined ? undefined : format(measured);
    },
  };
}

/** The table's columns; also its copied forms. @param forgets forgetting was measured. */
function metricColumns(
  colours: ReadonlyMap<string, string>,
  notComparable: readonly Measure[],
  forgets: boolean,
): readonly Column<Run>[] {
  const mark = (measure: Measure, title: string) =>
    notComparable.includes(measure) ? `${title} ${NOT_COMPARABLE}` : title;
  return [
    {
      key: 'name',
      title: 'Run',
      text: true,
      value: (run) => run.name,
      cell: (run) => (
        <span className="compare-run">
          <i style={{ background: `var(${colours.get(run.id) ?? '--s8'})` }} aria-hidden="true" />
          <Link href={`/runs/${run.id}`} title={run.name}>
            {run.name}
          </Link>
        </span>
      ),
    },
    {
      key: 'method',
      title: 'Method',
      text: true,
      value: (run) => run.method,
      cell: (run) => <div className="compare-method">{run.method}</div>,
    },
    measure(
      'validation',
      mark('validationLoss', 'Validation loss'),
      (run) => run.finalValidationLoss,
      formatNumber,
    ),
    ...(forgets
      ? [
          measure(
            'forgetting',
            mark('forgetting', 'Forgetting'),
            (run) => run.forgetting,
            (value) => `${value > 0 ? '+' : ''}${formatNumber(value, 3)}`,
          ),
        ]
      : []),
    measure('loss', mark('trainingLoss', 'Training loss, last tenth'), (run) => run.finalLoss, formatNumber),
    measure('steps', 'Steps', (run) => run.steps, formatCount),
    measure('tokens', mark('tokens', 'Tokens'), (run) => run.tokens, formatLarge),
    measure('seconds', mark('seconds', 'Time'), (run) => run.seconds, formatDuration),
    measure('speed', mark('tokensPerSecond', 'Tokens/s'), (run) => run.tokensPerSecond, formatNumber),
    measure('memory', mark('peakRssMB', 'Peak memory'), (run) => run.peakRssMB, formatMB),
    measure('trainable', 'Trained', (run) => run.trainableParameters, formatLarge),
    measure('checkpoint', 'Checkpoint', (run) => run.checkpointBytes, formatBytes),
    measure(
      'active',
      'Active experts',
      (run) => run.activeExperts,
      (value) => formatNumber(value, 3),
    ),
    measure(
      'gini',
      'Mean Gini',
      (run) => mean(run.gini_L),
      (value) => formatNumber(value, 3),
    ),
    measure(
      'drift',
      'Mean drift',
      (run) => mean(run.drift_L),
      (value) => formatNumber(value, 2),
    ),
  ];
}

/** One row a run. */
export function MetricsCard({
  runs,
  notComparable,
  colours,
}: Pick<Comparison, 'runs' | 'notComparable'> & {
  readonly colours: ReadonlyMap<string, string>;
}) {
  const columns = metricColumns(
    colours,
    notComparable,
    runs.some((run) => run.forgetting !== undefined),
  );
  return (
    <Card
      title="Numbers"
      className="compare-numbers"
      flush
      aside={
        <>
          <CopyButton label="Copy as CSV" text={() => tableText(columns, runs, 'csv')} />
          <CopyButton label="Copy as Markdown" text={() => tableText(columns, runs, 'markdown')} />
        </>
      }
    >
      <DataTable
        caption="Numbers of each run"
        columns={columns}
        rows={runs}
        rowKey={(run) => run.id}
        sort={{ key: 'validation', descending: false }}
      />
    </Card>
  );
}
