import { useMemo, useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { HeatLegend } from '../../charts/heat-legend.tsx';
import { HeatMap } from '../../charts/heat-map.tsx';
import {
  describeUsage,
  heatModel,
  type HeatOrder,
  type HeatQuantity,
  scaleWords,
} from '../../charts/heat-map-model.ts';
import { LayerTable } from '../../charts/layer-table.tsx';
import type { RoutingWindow } from '../../charts/routing-stats.ts';
import { TwinCard } from '../../charts/twin-card.tsx';
import { Card } from '../../ui/card.tsx';
import type { Column } from '../../ui/data-table.tsx';
import { formatCount, formatNumber } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { Select } from '../../ui/select.tsx';
import { EmptyState, ErrorNote, Skeleton } from '../../ui/states.tsx';
import type { ShownRouting } from './use-routing.ts';

interface ExpertRow {
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
function expertRows(window: RoutingWindow, row: number): readonly ExpertRow[] {
  const at = row * window.experts;
  const tokens = window.counts_LE.subarray(at, at + window.experts).reduce((sum, count) => sum + count, 0);
  return Array.from({ length: window.experts }, (_, expert) => {
    const count = window.counts_LE[at + expert] ?? 0;
    const condenser = window.condensers?.[row]?.includes(expert) ?? false;
    return {
      expert,
      tokens: count,
      load: tokens === 0 ? undefined : (count * window.experts) / tokens,
      mass: window.mass_LE?.[at + expert],
      bias: window.bias_LE?.[at + expert],
      note: condenser ? 'condenser' : count === 0 && tokens > 0 ? 'no token' : '',
    };
  });
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
  const bars = useMemo(
    () => ({ title: 'Gini', value_L: routing.layers.map((layer) => layer.gini) }),
    [routing.layers],
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
            cells={model}
            bars={bars}
            describe={(row, expert) => describeUsage(model, row, expert)}
            layerNames={layerNames}
            onOpen={onOpen}
          />
          <HeatLegend cells={model} words={scaleWords(model)} />
        </>
      }
      table={() => (
        <LayerTable
          layers={window.layers}
          layerNames={layerNames}
          columns={columns}
          rowsOf={(row) => expertRows(window, row)}
          sort={{ key: 'load', descending: true }}
        />
      )}
    />
  );
}

/** A choice that cannot be shown, and why. */
function absent(measured: unknown): { disabled?: boolean; why?: string } {
  return measured === undefined ? { disabled: true, why: 'not measured in this run' } : {};
}
