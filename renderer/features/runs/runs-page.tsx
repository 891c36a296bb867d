import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { useCall } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { formatCount, plural } from '../../ui/format.ts';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import { RunTable } from './run-table.tsx';

/** Every run, with a filter, and the way to compare some of them. */
export function RunsPage() {
  const runs = useCall('runs.list', undefined);
  const [filter, setFilter] = useState('');
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [, navigate] = useLocation();
  const select = (id: string, on: boolean) =>
    setSelected((old) => new Set(on ? [...old, id] : [...old].filter((other) => other !== id)));
  // The earliest first: the others are compared with it.
  const ids = (runs.data ?? [])
    .filter((run) => selected.has(run.id))
    .sort((a, b) => a.createdMs - b.createdMs)
    .map((run) => run.id)
    .join(',');
  return (
    <>
      <PageHead
        title="Runs"
        actions={
          <>
            <Button disabled={selected.size < 2} onClick={() => navigate(`/compare/${ids}`)}>
              {selected.size < 2 ? 'Compare: select two' : `Compare ${selected.size}`}
            </Button>
            <Button disabled={selected.size < 1} onClick={() => navigate(`/report/${ids}`)}>
              Report
            </Button>
            <Link href="/new" className="button primary">
              New run
            </Link>
          </>
        }
      />
      <Loaded query={runs} what="the runs" lines={6}>
        {(list) => {
          if (list.length === 0) {
            return (
              <EmptyState text="No run yet. A run trains a model on your data with a method you choose.">
                <Link href="/new" className="button primary">
                  New run
                </Link>
                <Link href="/" className="button">
                  Try the sample
                </Link>
              </EmptyState>
            );
          }
          const wanted = filter.trim().toLowerCase();
          const shown = list.filter((run) =>
            `${run.name} ${run.state} ${run.method} ${run.modelName}`.toLowerCase().includes(wanted),
          );
          return (
            <Card
              title={
                shown.length === list.length
                  ? plural(list.length, 'run')
                  : `${formatCount(shown.length)} of ${plural(list.length, 'run')}`
              }
              flush
              aside={
                <input
                  className="input"
                  type="search"
                  aria-label="Filter runs"
                  placeholder="Filter by name, state, method"
                  value={filter}
                  onChange={(event) => setFilter(event.target.value)}
                />
              }
            >
              {shown.length === 0 ? (
                <EmptyState inset text={`No run matches “${filter}”.`} />
              ) : (
                <RunTable runs={shown} selected={selected} onSelect={select} />
              )}
            </Card>
          );
        }}
      </Loaded>
    </>
  );
}
