import { Card } from '../../ui/card.tsx';
import type { LayerStats } from '../../charts/routing-stats.ts';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatNumber } from '../../ui/format.ts';
import { EmptyState } from '../../ui/states.tsx';

const short = (value: number | undefined, digits = 3) =>
  value === undefined ? undefined : formatNumber(value, digits);

function columnsFor(
  layers: readonly LayerStats[],
  layerNames: readonly number[],
): readonly Column<LayerStats>[] {
  const has = (key: 'bias' | 'drift' | 'condensers') => layers.some((layer) => layer[key] !== undefined);
  const all: readonly (Column<LayerStats> | false)[] = [
    { key: 'layer', title: 'layer', text: true, value: (layer) => layerNames[layer.row] ?? layer.row },
    {
      key: 'gini',
      title: 'Gini',
      value: (layer) => layer.gini,
      cell: (layer) => (
        <>
          <span className="bar" style={{ width: `${Math.round(layer.gini * 32)}px` }} />
          {layer.gini.toFixed(2)}
        </>
      ),
    },
    {
      key: 'entropy',
      title: 'entropy',
      value: (layer) => layer.entropy,
      cell: (layer) => layer.entropy.toFixed(2),
    },
    {
      key: 'effective',
      title: 'effective',
      value: (layer) => layer.effective,
      cell: (layer) => layer.effective.toFixed(1),
    },
    { key: 'dead', title: 'no token', value: (layer) => layer.dead.length },
    { key: 'overloaded', title: '> 2 ×', value: (layer) => layer.overloaded.length },
    has('bias') && {
      key: 'bias',
      title: 'bias',
      value: (layer) => layer.bias,
      cell: (layer) => (layer.bias === undefined ? undefined : `±${short(layer.bias)}`),
    },
    has('condensers') && {
      key: 'condensers',
      title: 'condensers',
      value: (layer) => layer.condensers?.join(', '),
      cell: (layer) => layer.condensers && someOf(layer.condensers),
    },
    has('drift') && {
      key: 'drift',
      title: 'drift (JS)',
      value: (layer) => layer.drift,
      cell: (layer) => short(layer.drift, 2),
    },
  ];
  return all.filter((column) => column !== false);
}

/** The first of a list of experts, and how many more there are. */
function someOf(ids: readonly number[]): string {
  return ids.length <= 4 ? ids.join(', ') : `${ids.slice(0, 3).join(', ')} + ${ids.length - 3}`;
}

/** One row a layer: how unevenly its experts are used. */
export function LayersCard({
  layers,
  layerNames,
}: {
  readonly layers: readonly LayerStats[];
  readonly layerNames: readonly number[];
}) {
  return (
    <Card
      title="Layers"
      flush
      aside={
        <span title="Effective: experts used equally that would be as spread out, exp(entropy). Entropy and drift in nats.">
          {layers.length > 1 ? `all ${layers.length}` : ''}
        </span>
      }
    >
      {layers.length === 0 ? (
        <EmptyState inset text="Statistics of each layer come with the first routing record." />
      ) : (
        <DataTable
          caption="Expert use of each layer"
          columns={columnsFor(layers, layerNames)}
          rows={layers}
          rowKey={(layer) => String(layer.row)}
          sort={{ key: 'gini', descending: true }}
          maxHeight={266}
        />
      )}
    </Card>
  );
}
