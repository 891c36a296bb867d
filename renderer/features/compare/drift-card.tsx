import { useState } from 'react';
import type { Comparison } from '#core/contract/run.ts';
import { TwinCard } from '../../charts/twin-card.tsx';
import { Card } from '../../ui/card.tsx';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatNumber } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState } from '../../ui/states.tsx';

type Run = Comparison['runs'][number];
type Shown = 'drift_L' | 'gini_L';

/** Routing of each layer, run beside run: how far it moved, or how uneven it is. */
export function DriftCard({
  runs,
  colours,
}: {
  readonly runs: readonly Run[];
  readonly colours: ReadonlyMap<string, string>;
}) {
  const [shown, setShown] = useState<Shown>('drift_L');
  const layers = Math.max(0, ...runs.map((run) => run[shown].length));
  const most = Math.max(1e-9, ...runs.flatMap((run) => run[shown]));
  const title = shown === 'drift_L' ? 'Routing drift by layer' : 'Gini by layer';
  if (layers === 0 && runs.every((run) => run.gini_L.length === 0)) {
    return (
      <Card title="Routing by layer">
        <EmptyState inset text="No routing record in these runs yet." />
      </Card>
    );
  }
  const rows = Array.from({ length: layers }, (_, layer) => layer);
  const columns: readonly Column<number>[] = [
    { key: 'layer', title: 'MoE layer', value: (layer) => layer },
    ...runs.map((run): Column<number> => ({
      key: run.id,
      title: run.name,
      value: (layer) => run[shown][layer],
      cell: (layer) => {
        const value = run[shown][layer];
        return value === undefined ? undefined : formatNumber(value, 3);
      },
    })),
  ];
  return (
    <TwinCard
      title={title}
      aside={
        <>
          <span>{shown === 'drift_L' ? 'Jensen–Shannon, first to last tenth, nats' : 'mean over steps'}</span>
          <Segmented
            label="Shown"
            value={shown}
            choices={[
              { value: 'drift_L', label: 'drift' },
              { value: 'gini_L', label: 'Gini' },
            ]}
            onChange={setShown}
          />
        </>
      }
      chart={
        layers === 0 ? (
          <EmptyState inset text="Too few steps to tell how routing moved." />
        ) : (
          <div
            className="layer-bars"
            role="img"
            aria-label={`${title} for ${runs.length} runs and ${layers} layers; the largest value is ${formatNumber(most, 3)}`}
          >
            <div className="layer-bars-scale num">{formatNumber(most, 2)}</div>
            {rows.map((layer) => (
              <div key={layer} className="layer-bar">
                <div>
                  {runs.map((run) => (
                    <i
                      key={run.id}
                      title={`layer ${layer}, ${run.name}: ${formatNumber(run[shown][layer], 3)}`}
                      style={{
                        height: `${(100 * (run[shown][layer] ?? 0)) / most}%`,
                        background: `var(${colours.get(run.id) ?? '--s8'})`,
                      }}
                    />
                  ))}
                </div>
                <span className="num">{layers <= 32 || layer % 4 === 0 ? layer : ''}</span>
              </div>
            ))}
          </div>
        )
      }
      table={() => (
        <DataTable
          caption={`${title} of each run`}
          columns={columns}
          rows={rows}
          rowKey={String}
          maxHeight={320}
        />
      )}
    />
  );
}
