import { useMemo, useState } from 'react';
import type { StepMetrics } from '#core/contract/metrics.ts';
import type { RunDetail } from '#core/contract/run.ts';
import type { RunData } from '../../api/subscriptions.ts';
import { LineChart } from '../../charts/line-chart.tsx';
import { TwinCard } from '../../charts/twin-card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { type Column, DataTable, tableText } from '../../ui/data-table.tsx';
import { formatCount, formatDuration, formatNumber, formatRange } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { AlongChoice } from './along-choice.tsx';
import { type Along, axisOf, lastShown, linesOf, markersOf, quantities, type Quantity } from './curves.ts';
import { secondsLeft } from './time-left.ts';

/** Rows of the table twin; the copy has all of them. */
const TABLE_ROWS = 200;

interface Row extends StepMetrics {
  readonly validation: number | undefined;
}

const number = (key: Exclude<keyof Row, 'step' | 'wallMs'>, title: string): Column<Row> => ({
  key,
  title,
  value: (row) => row[key],
  cell: (row) => {
    const value = row[key];
    return value === undefined ? undefined : formatNumber(value);
  },
});

const columns: readonly Column<Row>[] = [
  { key: 'step', title: 'step', value: (row) => row.step, cell: (row) => formatCount(row.step) },
  number('loss', 'loss'),
  number('validation', 'validation'),
  number('learningRate', 'learning rate'),
  number('gradNorm', 'gradient norm'),
  number('tokensPerSecond', 'tokens/s'),
  number('rssMB', 'memory, MB'),
  number('deviceMB', 'GPU memory, MB'),
  number('tokens', 'tokens'),
  number('auxLoss', 'auxiliary loss'),
];

function StepTable({ data }: { readonly data: RunData }) {
  const evaluations = new Map(data.evaluations.map((evaluation) => [evaluation.step, evaluation.loss]));
  const rows = data.steps.map((step): Row => ({ ...step, validation: evaluations.get(step.step) }));
  // Only runs on a graphics adapter take memory there.
  const onDevice = data.steps.some(({ deviceMB }) => deviceMB !== undefined);
  const present = columns.filter(({ key }) => key !== 'deviceMB' || onDevice);
  return (
    <div className="stack tight">
      <DataTable
        caption="Numbers of each step"
        columns={present}
        rows={rows.slice(-TABLE_ROWS)}
        rowKey={(row) => String(row.step)}
        sort={{ key: 'step', descending: true }}
        maxHeight={300}
      />
      <div className="row">
        <CopyButton label="Copy all as CSV" text={() => tableText(present, rows, 'csv')} />
        {rows.length > TABLE_ROWS && (
          <small>
            the last {TABLE_ROWS} of {formatCount(rows.length)} steps
          </small>
        )}
      </div>
    </div>
  );
}

function firstEvaluation(detail: RunDetail, data: RunData): string | undefined {
  const every = detail.spec.evaluate.everySteps;
  if (data.evaluations.length > 0 || detail.state !== 'running') return undefined;
  if (every === null || detail.facts?.validationRows === 0) return 'No validation in this run.';
  const remaining = every - (data.steps.at(-1)?.step ?? 0);
  const left = remaining > 0 ? secondsLeft(data.steps, remaining) : undefined;
  const when = left === undefined ? '' : `, in about ${formatRange(left.low, left.high, formatDuration)}`;
  return `First evaluation at step ${formatCount(every)}${when}.`;
}

/** The curve of the chosen quantity. */
export function CurveCard({
  detail,
  data,
  quantity,
  onQuantity,
  at,
  onPick,
}: {
  readonly detail: RunDetail;
  readonly data: RunData;
  readonly quantity: Quantity;
  readonly onQuantity: (quantity: Quantity) => void;
  readonly at: number | undefined;
  readonly onPick: (step: number) => void;
}) {
  const [along, setAlong] = useState<Along>('step');
  const [scale, setScale] = useState<'linear' | 'log'>('linear');
  const axis = useMemo(() => axisOf(data.steps, along), [data.steps, along]);
  const lines = useMemo(
    () => linesOf(quantity, data.steps, data.evaluations, axis, detail.totalSteps ?? data.steps.length),
    [quantity, data.steps, data.evaluations, axis, detail.totalSteps],
  );
  const markers = useMemo(() => markersOf(data.events, axis), [data.events, axis]);
  const { title, format } = quantities[quantity];
  const last = data.steps.at(-1);
  const measured = data.steps.some((step) => step.auxLoss !== undefined);
  const place = at === undefined ? undefined : axis.at(at);
  const note = quantity === 'loss' ? firstEvaluation(detail, data) : undefined;
  const end = along === 'step' ? lastShown(last?.step ?? 1, detail.totalSteps) : undefined;
  const newest = last?.[quantity];
  return (
    <TwinCard
      title={title}
      aside={
        <>
          {quantity === 'loss' && measured && (
            <button type="button" className="button small quiet" onClick={() => onQuantity('auxLoss')}>
              auxiliary loss
            </button>
          )}
          <AlongChoice value={along} onChange={setAlong} />
          <Segmented
            label="Scale"
            value={scale}
            choices={[
              { value: 'linear', label: 'linear' },
              { value: 'log', label: 'log' },
            ]}
            onChange={setScale}
          />
        </>
      }
      chart={
        <>
          <LineChart
            label={`${title} over ${data.steps.length} steps; now ${newest === undefined ? 'not measured' : format(newest)}.`}
            lines={lines}
            xLabel={axis.label}
            formatX={axis.format}
            formatY={format}
            log={scale === 'log'}
            height={296}
            markers={markers}
            {...(end !== undefined && { xEnd: end })}
            {...(place !== undefined && { at: place })}
            onPick={(x) => {
              const step = axis.stepAt(x);
              if (step !== undefined) onPick(step);
            }}
          />
          {note !== undefined && <p className="muted chart-note">{note}</p>}
        </>
      }
      table={() => <StepTable data={data} />}
    />
  );
}
