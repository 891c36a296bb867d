import { useMemo, useState } from 'react';
import type { RunFacts } from '#core/contract/run.ts';
import { useCall } from '../../api/use-host.ts';
import { LineChart } from '../../charts/line-chart.tsx';
import { Button } from '../../ui/button.tsx';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { formatCount, formatNumber } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import { type ExpertPlace, expertHistory, type Moment } from './expert-history.ts';

/** Moments read for the curves; the host thins evenly. */
const MOMENTS = 200;

type Shown = 'load' | 'mass' | 'bias';

const number = (key: Shown, title: string): Column<Moment> => ({
  key,
  title,
  value: (moment) => moment[key],
  cell: (moment) => (moment[key] === undefined ? undefined : formatNumber(moment[key])),
});
const columns: readonly Column<Moment>[] = [
  { key: 'step', title: 'step', value: (moment) => moment.step },
  number('load', 'load ÷ uniform'),
  number('mass', 'share of gate mass'),
  number('bias', 'bias'),
];

const names: Record<Shown, string> = { load: 'load ÷ uniform', mass: 'share of gate mass', bias: 'bias' };

function History({ moments, at }: { readonly moments: readonly Moment[]; readonly at: number | undefined }) {
  const [wanted, setWanted] = useState<Shown>('load');
  const [asTable, setAsTable] = useState(false);
  const has = (key: Shown) => moments.some((moment) => moment[key] !== undefined);
  const x = moments.map((moment) => moment.step);
  const last = moments.at(-1);
  return (
    <>
      <p className="row wrap num">
        {last?.condenser && <span className="chip accent">condenser</span>}
        {(['load', 'mass', 'bias'] as const).map((key) => (
          <span key={key}>
            <span className="muted">{names[key]}</span> <b>{formatNumber(last?.[key])}</b>
          </span>
        ))}
        <span className="muted">at step {formatCount(last?.step)}</span>
        <span className="grow" />
        <Segmented
          label="Curve"
          value={wanted}
          choices={(['load', 'mass', 'bias'] as const).map((key) => ({
            value: key,
            label: key === 'mass' ? 'gate mass' : key,
            disabled: !has(key),
            ...(!has(key) && { why: 'not measured in this run' }),
          }))}
          onChange={setWanted}
        />
        <Button small look="quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? 'chart' : 'table'}
        </Button>
      </p>
      {asTable ? (
        <DataTable
          caption="History of the expert"
          columns={columns}
          rows={moments}
          rowKey={(moment) => String(moment.step)}
          sort={{ key: 'step', descending: true }}
          maxHeight={280}
        />
      ) : (
        <LineChart
          label={`${names[wanted]} of the expert over ${moments.length} steps`}
          lines={[
            {
              key: wanted,
              label: names[wanted],
              colour: '--s1',
              x,
              y: moments.map((moment) => moment[wanted] ?? null),
            },
          ]}
          xLabel="step"
          formatX={formatCount}
          height={260}
          {...(last !== undefined && { xEnd: last.step })}
          {...(at !== undefined && { at })}
        />
      )}
    </>
  );
}

function Expert({
  id,
  facts,
  place,
  at,
}: {
  readonly id: string;
  readonly facts: RunFacts;
  readonly place: ExpertPlace;
  readonly at: number | undefined;
}) {
  const routing = useCall('runs.routing', { id, limit: MOMENTS });
  const records = routing.data?.records;
  const moments = useMemo(
    () => expertHistory(records ?? [], place, facts.experts),
    [records, place, facts.experts],
  );
  return (
    <Loaded query={routing} what="the expert's history" lines={6}>
      {() =>
        moments.length === 0 ? (
          <EmptyState inset text="No routing record yet." />
        ) : (
          <History moments={moments} at={at} />
        )
      }
    </Loaded>
  );
}

/** An expert's load, gate mass and bias over the run. */
export function ExpertDialog({
  id,
  facts,
  place,
  at,
  onClose,
}: {
  readonly id: string;
  readonly facts: RunFacts | undefined;
  readonly place: ExpertPlace | undefined;
  readonly at: number | undefined;
  readonly onClose: () => void;
}) {
  const title =
    place === undefined
      ? ''
      : `Layer ${facts?.moeLayerIndices[place.row] ?? place.row}, expert ${place.expert}`;
  return (
    <Dialog open={place !== undefined} wide focusTitle title={title} onClose={onClose}>
      {place !== undefined && facts !== undefined && <Expert id={id} facts={facts} place={place} at={at} />}
      <div className="dialog-actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}
