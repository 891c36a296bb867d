import { useQueries } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { Comparison } from '#core/contract/run.ts';
import { useClient } from '../../api/use-host.ts';
import { type Line, LineChart } from '../../charts/line-chart.tsx';
import { smooth } from '../../charts/series.ts';
import { TwinCard } from '../../charts/twin-card.tsx';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatCount, formatNumber } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState, ErrorNote, Skeleton } from '../../ui/states.tsx';
import { type Along, AlongChoice, axisOf, smoothSpan } from '../run/index.ts';

type Runs = Comparison['runs'];
type Shown = 'train' | 'validation';

interface Point {
  readonly run: string;
  readonly step: number;
  readonly loss: number;
}

const columns: readonly Column<Point>[] = [
  { key: 'run', title: 'run', text: true, value: (point) => point.run },
  { key: 'step', title: 'step', value: (point) => point.step, cell: (point) => formatCount(point.step) },
  { key: 'loss', title: 'loss', value: (point) => point.loss, cell: (point) => formatNumber(point.loss) },
];

/** Rows of the table twin for each run. */
const TABLE_POINTS = 50;

/** The losses of all runs over each other. */
export function OverlayCard({
  runs,
  colours,
}: {
  readonly runs: Runs;
  readonly colours: ReadonlyMap<string, string>;
}) {
  const client = useClient();
  const [shown, setShown] = useState<Shown>('train');
  const [along, setAlong] = useState<Along>('step');
  const series = useQueries({
    queries: runs.map((run) => ({
      queryKey: ['runs.series', { id: run.id, steps: run.steps }],
      queryFn: () => client.call('runs.series', { id: run.id }),
    })),
  });
  const failed = series.find((query) => query.error !== null);
  const loaded = series.map((query) => query.data);
  const stamp = series.map((query) => query.dataUpdatedAt).join(' ');
  const curves = useMemo(
    () =>
      runs.flatMap((run, i) => {
        const data = loaded[i];
        if (data === undefined) return [];
        const axis = axisOf(data.steps, along);
        const points =
          shown === 'train'
            ? data.steps.map((step, at) => ({ step: step.step, x: axis.x[at] ?? 0, loss: step.loss }))
            : data.evaluations.map(({ step, loss }) => ({ step, x: axis.at(step) ?? 0, loss }));
        return points.length === 0 ? [] : [{ run, axis, points }];
      }),
    // oxlint-disable-next-line react/exhaustive-deps -- `stamp` changes whenever `loaded` does
    [runs, stamp, along, shown],
  );
  const lines = useMemo(
    () =>
      curves.map(({ run, points }): Line => {
        const losses = points.map((point) => point.loss);
        const y = shown === 'train' ? smooth(losses, smoothSpan(losses.length)) : losses;
        return {
          key: run.id,
          label: run.name,
          colour: colours.get(run.id) ?? '--s8',
          width: 2,
          x: points.map((point) => point.x),
          y: y.map((value) => (Number.isFinite(value) ? value : null)),
        };
      }),
    [curves, colours, shown],
  );
  const axis = curves[0]?.axis;
  const chart = () => {
    if (failed?.error)
      return <ErrorNote what="A run’s numbers could not be read" error={toErrorInfo(failed.error)} />;
    if (axis === undefined) {
      if (series.some((query) => query.isPending)) return <Skeleton label="Loading the curves" lines={8} />;
      return (
        <EmptyState
          inset
          text={
            shown === 'train'
              ? 'None of these runs has a step yet.'
              : 'None of these runs has been evaluated.'
          }
        />
      );
    }
    return (
      <LineChart
        label={`${shown === 'train' ? 'Training' : 'Validation'} loss of ${lines.length} runs`}
        lines={lines}
        xLabel={axis.label}
        formatX={axis.format}
        height={300}
        xEnd={Math.max(...lines.map((line) => line.x.at(-1) ?? 0))}
      />
    );
  };
  return (
    <TwinCard
      title={shown === 'train' ? 'Training loss, smoothed' : 'Validation loss'}
      aside={
        <>
          <Segmented
            label="Loss"
            value={shown}
            choices={[
              { value: 'train', label: 'training' },
              { value: 'validation', label: 'validation' },
            ]}
            onChange={setShown}
          />
          <AlongChoice value={along} onChange={setAlong} />
        </>
      }
      chart={chart()}
      table={() => (
        <DataTable
          caption="Loss of each run"
          columns={columns}
          rows={curves.flatMap(({ run, points }) => {
            const stride = Math.max(1, Math.ceil(points.length / TABLE_POINTS));
            return points
              .filter((_, i) => i % stride === 0 || i === points.length - 1)
              .map(({ step, loss }) => ({ run: run.name, step, loss }));
          })}
          rowKey={(point) => `${point.run} ${point.step}`}
          maxHeight={320}
        />
      )}
    />
  );
}
