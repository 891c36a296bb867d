import { useMemo, useState } from 'react';
import type { Comparison } from '#core/contract/run.ts';
import type { UsageDifference } from '#core/contract/usage-difference.ts';
import { useCall } from '../../api/use-host.ts';
import { HeatLegend } from '../../charts/heat-legend.tsx';
import { HeatMap } from '../../charts/heat-map.tsx';
import { differenceCells } from '../../charts/heat-map-model.ts';
import { LayerTable } from '../../charts/layer-table.tsx';
import { TwinCard } from '../../charts/twin-card.tsx';
import { Card } from '../../ui/card.tsx';
import type { Column } from '../../ui/data-table.tsx';
import { formatNumber } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { Select } from '../../ui/select.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';

const TITLE = 'Expert usage, run minus run';

interface Row {
  readonly expert: number;
  readonly base: number;
  readonly other: number;
  readonly difference: number;
  readonly note: string;
}

const number = (key: 'base' | 'other' | 'difference', title: string): Column<Row> => ({
  key,
  title,
  value: (row) => row[key],
  cell: (row) => (key === 'difference' ? signed(row[key]) : formatNumber(row[key])),
});

const columns: readonly Column<Row>[] = [
  { key: 'expert', title: 'expert', value: (row) => row.expert },
  number('difference', 'difference'),
  number('other', 'load ÷ uniform'),
  number('base', 'load ÷ uniform, subtracted'),
  { key: 'note', title: 'note', text: true, value: (row) => row.note },
];

/** A difference with its sign. */
function signed(value: number): string {
  return value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
}

function rowsOf({ base, other, difference_LE }: UsageDifference, row: number): readonly Row[] {
  return (difference_LE[row] ?? []).map((difference, expert) => ({
    expert,
    difference,
    base: base.load_LE[row]?.[expert] ?? 0,
    other: other.load_LE[row]?.[expert] ?? 0,
    note: other.condensers_L[row]?.includes(expert) === true ? 'condenser' : '',
  }));
}

function describe(usage: UsageDifference, row: number, expert: number): string {
  const cell = rowsOf(usage, row)[expert];
  if (cell === undefined) return '';
  const { base, other, difference, note } = cell;
  const words = `${signed(difference)} × uniform (${formatNumber(other)} minus ${formatNumber(base)})`;
  return note === '' ? words : `${words}, ${note}`;
}

function Map({ usage, order }: { readonly usage: UsageDifference; readonly order: 'id' | 'load' }) {
  const cells = useMemo(() => differenceCells(usage, order), [usage, order]);
  const bars = useMemo(() => ({ title: 'moved', value_L: usage.moved_L }), [usage]);
  return (
    <>
      <HeatMap
        label={`Expert load of ${usage.other.name} minus ${usage.base.name}, ${cells.layers} layers by ${cells.experts} experts`}
        cells={cells}
        bars={bars}
        layerNames={usage.layers}
        describe={(row, expert) => describe(usage, row, expert)}
      />
      <HeatLegend cells={cells} words={[`−${usage.limit}`, 'same', `+${usage.limit} × uniform`]} />
    </>
  );
}

/** How differently two of the runs use their experts at the end. */
export function UsageCard({ runs }: { readonly runs: Comparison['runs'] }) {
  const [chosen, setChosen] = useState<{ readonly base?: string; readonly other?: string }>({});
  const [order, setOrder] = useState<'id' | 'load'>('id');
  const known = (id: string | undefined) => runs.find((run) => run.id === id)?.id;
  const base = known(chosen.base) ?? runs[0]?.id ?? '';
  const other = known(chosen.other) ?? runs[1]?.id ?? '';
  const comparable = runs.length > 1 && base !== other;
  const query = useCall('compare.usage', { base, other }, { enabled: comparable, keep: true });
  const choices = runs.map((run) => ({ value: run.id, label: run.name }));
  const pick = (
    <span className="usage-pick">
      <Select
        small
        label="Run"
        value={other}
        choices={choices}
        onChange={(id) => setChosen({ base, other: id })}
      />
      minus
      <Select
        small
        label="Run subtracted"
        value={base}
        choices={choices}
        onChange={(id) => setChosen({ base: id, other })}
      />
    </span>
  );
  if (runs.length < 2) {
    return (
      <Card title={TITLE}>
        <EmptyState inset text="Choose a second run to see what differs in the use of experts." />
      </Card>
    );
  }
  const usage = comparable ? query.data : { absent: 'Choose two different runs.' };
  if (usage === undefined || 'absent' in usage) {
    return (
      <Card title={TITLE} aside={pick}>
        {usage === undefined ? (
          <Loaded query={query} what="the use of experts" lines={8}>
            {() => null}
          </Loaded>
        ) : (
          <EmptyState inset text={usage.absent} />
        )}
      </Card>
    );
  }
  return (
    <TwinCard
      title={TITLE}
      aside={
        <>
          {pick}
          <Segmented
            label="Order of the columns"
            value={order}
            choices={[
              { value: 'id', label: 'by number' },
              { value: 'load', label: 'by load subtracted' },
            ]}
            onChange={setOrder}
          />
        </>
      }
      chart={
        <>
          <p className="usage-words">{usage.words.join(' ')}</p>
          <Map usage={usage} order={order} />
        </>
      }
      table={() => (
        <LayerTable
          layers={usage.layers.length}
          layerNames={usage.layers}
          columns={columns}
          rowsOf={(row) => rowsOf(usage, row)}
          sort={{ key: 'difference', descending: true }}
        />
      )}
    />
  );
}
