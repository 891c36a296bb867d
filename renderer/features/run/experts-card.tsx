import { useMemo, useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { HeatLegend } from '../../charts/heat-legend.tsx';
import { HeatMap } from '../../charts/heat-map.tsx';
import { heatModel, type HeatOrder, type HeatQuantity } from '../../charts/heat-map-model.ts';
import type { RoutingWindow } from '../../charts/routing-stats.ts';
import { TwinCard } from '../../charts/twin-card.tsx';
import { Card } from '../../ui/card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { type Column, DataTable, tableText } from '../../ui/data-table.tsx';
import { formatCount, formatNumber } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { Select } from '../../ui/select.tsx';
import { EmptyState, ErrorNote, Skeleton } from '../../ui/states.tsx';
import type { ShownRouting } from './use-routing.ts';

interface ExpertRow {
  readonly layer: number;
  readonly expert: number;
  readonly tokens: number;
  readonly load: number | undefined;
  readonly mass: number | undefined;
  readonly bias: number | undefined;
  readonly note: string;
}

const cell = (key: 'load' | 'mass' | 'bias') => (row: ExpertRow) =>
  row[key] === undefined ? undefined : formatNumber(row[key]);

const columns: readonly Column<ExpertRow>[] = [
  { key: 'expert', title: 'expert', value: (row) => row.expert },
  { key: 'tokens', title: 'selections', value: (row) => row.tokens, cell: (row) => formatCount(row.tokens) },
  { key: 'load', title: 'load ÷ uniform', value: (row) => row.load, cell: cell('load') },
  { key: 'mass', title: 'gate mass', value: (row) => row.mass, cell: cell('mass') },
  { key: 'bias', title: 'bias', value: (row) => row.bias, cell: cell('bias') },
  { key: 'note', title: 'note', text: true, value: (row) => row.note },
];

/** The experts of one row of the window. */
function expertRows(window: RoutingWindow, row: number, layer: number): readonly ExpertRow[] {
  const at = row * window.experts;
  const tokens = window.counts_LE.subarray(at, at + window.experts).reduce((sum, count) => sum + count, 0);
  return Array.from({ length: window.experts }, (_, expert) => {
    const count = window.counts_LE[at + expert] ?? 0;
    const condenser = window.condensers?.[row]?.includes(expert) ?? false;
    return {
      layer,
      expert,
      tokens: count,
      load: tokens === 0 ? undefined : (count * window.experts) / tokens,
      mass: window.mass_LE?.[at + expert],
      bias: window.bias_LE?.[at + expert],
      note: condenser ? 'condenser' : count === 0 && tokens > 0 ? 'no token' : '',
    };
  });
}

function ExpertTable({
  window,
  layerNames,
}: {
  readonly window: RoutingWindow;
  readonly layerNames: readonly number[];
}) {
  const [row, setRow] = useState(0);
  const nameOf = (index: number) => layerNames[index] ?? index;
  const all = () =>
    Array.from({ length: window.layers }, (_, index) => expertRows(window, index, nameOf(index))).flat();
  const layerColumn: Column<ExpertRow> = { key: 'layer', title: 'layer', value: (entry) => entry.layer };
  return (
    <div className="stack tight">
      <div className="row wrap">
        <Select
          small
          label="Layer"
          value={String(row)}
          choices={Array.from({ length: window.layers }, (_, index) => ({
            value: String(index),
            label: `layer ${nameOf(index)}`,
          }))}
          onChange={(value) => setRow(Number(value))}
        />
        <CopyButton
          label="Copy all layers as CSV"
          text={() => tableText([layerColumn, ...columns], all(), 'csv')}
        />
      </div>
      <DataTable
        caption={`Experts of layer ${nameOf(row)}`}
        columns={columns}
        rows={expertRows(window, row, nameOf(row))}
        rowKey={(entry) => String(entry.expert)}
        sort={{ key: 'load', descending: true }}
        maxHeight={300}
      />
    </div>
  );
}

const titles: Record<HeatQuantity, string> = { load: 'Expert load', mass: 'Gate mass', bias: 'Router bias' };

/** Layer × expert heat map of the moment shown. */
export function ExpertsCard({
  routing,
  facts,
  at,
  onOpen,
}: {
  readonly routing: ShownRouting;
  readonly facts: RunFacts | undefined;
  readonly at: number | undefined;
  readonly onOpen: (row: number, expert: number) => void;
}) {
  const [wanted, setWanted] = useState<HeatQuantity>('load');
  const [order, setOrder] = useState<HeatOrder>('id');
  const { window, start } = routing;
  const layerNames = useMemo(() => facts?.moeLayerIndices ?? [], [facts]);
  const quantity =
    (wanted === 'mass' && window?.mass_LE === undefined) ||
    (wanted === 'bias' && window?.bias_LE === undefined)
      ? 'load'
      : wanted;
  const model = useMemo(
    () => (window === undefined ? undefined : heatModel(window, quantity, order, start)),
    [window, quantity, order, start],
  );
  if (window === undefined || model === undefined) {
    return (
      <Card title="Expert load">
        {routing.error !== null ? (
          <ErrorNote what="The routing of this step could not be read" error={toErrorInfo(routing.error)} />
        ) : routing.loading ? (
          <Skeleton label="Loading routing" lines={8} />
        ) : (
          <EmptyState
            inset
            text={
              facts === undefined || facts.moeLayers > 0
                ? 'No routing record yet. It comes with the first steps.'
                : 'This model has no expert layers.'
            }
          />
        )}
      </Card>
    );
  }
  const span =
    window.steps === 1
      ? `step ${formatCount(window.toStep)}`
      : `steps ${formatCount(window.fromStep)}–${formatCount(window.toStep)}`;
  return (
    <TwinCard
      title={titles[quantity]}
      className="experts-card"
      aside={
        <>
          <span className="num">
            {span}
            {at === undefined ? '' : ' · past'}
          </span>
          <Segmented
            label="Quantity"
            value={quantity}
            choices={[
              { value: 'load', label: 'load' },
              { value: 'mass', label: 'gate mass', ...absent(window.mass_LE) },
              { value: 'bias', label: 'bias', ...absent(window.bias_LE) },
            ]}
            onChange={setWanted}
          />
          <Select
            small
            label="Order of the columns"
            value={order}
            choices={[
              { value: 'id', label: 'by number' },
              { value: 'load', label: 'by load' },
              { value: 'base', label: 'by load at the start', disabled: start === undefined },
            ]}
            onChange={(value) => setOrder(value === 'load' || value === 'base' ? value : 'id')}
          />
        </>
      }
      chart={
        <>
          <HeatMap
            label={`${titles[quantity]} of ${window.layers} layers by ${window.experts} experts, ${span}`}
            model={model}
            stats={routing.layers}
            layerNames={layerNames}
            onOpen={onOpen}
          />
          <HeatLegend model={model} />
        </>
      }
      table={() => <ExpertTable window={window} layerNames={layerNames} />}
    />
  );
}

/** A choice that cannot be shown, and why. */
function absent(measured: unknown): { disabled?: boolean; why?: string } {
  return measured === undefined ? { disabled: true, why: 'not measured in this run' } : {};
}
