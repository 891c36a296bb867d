import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { MOST_COMPARED } from '#core/contract/method-comparison.ts';
import type { RunSummary } from '#core/contract/run.ts';
import { useCall } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { RunStateChip } from '../../ui/run-state-chip.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import { DifferenceCard } from './difference-card.tsx';
import { DriftCard } from './drift-card.tsx';
import { GroupsCard } from './groups-card.tsx';
import { MetricsCard, NOT_COMPARABLE } from './metrics-card.tsx';
import { OverlayCard } from './overlay-card.tsx';
import { runColours } from './run-colours.ts';
import { UsageCard } from './usage-card.tsx';
import './compare.css';

function Picker({
  runs,
  ids,
  colours,
}: {
  readonly runs: readonly RunSummary[];
  readonly ids: readonly string[];
  readonly colours: ReadonlyMap<string, string>;
}) {
  const [, navigate] = useLocation();
  const [open, setOpen] = useState(ids.length < 2);
  const toggle = (id: string, on: boolean) => {
    const next = on ? [...ids, id] : ids.filter((other) => other !== id);
    navigate(next.length === 0 ? '/compare' : `/compare/${next.join(',')}`);
  };
  const listed = open
    ? [...runs].sort((a, b) => b.createdMs - a.createdMs)
    : runs.filter((run) => ids.includes(run.id));
  return (
    <Card
      title={`Runs · ${ids.length} chosen`}
      aside={
        ids.length > 0 && (
          <Button small look="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
            {open ? 'Show only chosen ones' : 'Choose runs'}
          </Button>
        )
      }
    >
      <div className="pick-runs">
        {listed.map((run) => (
          <label key={run.id} className="pick-run">
            <input
              type="checkbox"
              checked={ids.includes(run.id)}
              disabled={!ids.includes(run.id) && ids.length >= MOST_COMPARED}
              onChange={(event) => toggle(run.id, event.target.checked)}
            />
            <i style={{ background: `var(${colours.get(run.id) ?? '--s8'})` }} aria-hidden="true" />
            <span className="ellipsis" title={run.name}>
              {run.name}
            </span>
            <RunStateChip state={run.state} />
            <span className="muted ellipsis">{run.method}</span>
          </label>
        ))}
      </div>
    </Card>
  );
}

function Comparing({
  ids,
  colours,
}: {
  readonly ids: readonly string[];
  readonly colours: ReadonlyMap<string, string>;
}) {
  const comparison = useCall('compare.get', { ids: [...ids] }, { keep: true });
  return (
    <Loaded query={comparison} what="the comparison" lines={8}>
      {({ runs, groups, rateChoice, notComparable, differences, caveats }) => (
        <>
          {caveats.length > 0 && (
            <div className="notice warn">
              <strong>{notComparable.length > 0 ? 'Not strictly comparable' : 'Before you conclude'}</strong>
              {notComparable.length > 0 && (
                <p>{NOT_COMPARABLE} marks measures that these differences make incomparable.</p>
              )}
              <ul className="caveats">
                {caveats.map((caveat) => (
                  <li key={caveat}>{caveat}</li>
                ))}
              </ul>
            </div>
          )}
          <GroupsCard groups={groups} rateChoice={rateChoice} notComparable={notComparable} />
          <OverlayCard runs={runs} colours={colours} />
          <MetricsCard runs={runs} notComparable={notComparable} colours={colours} />
          <DriftCard runs={runs} colours={colours} />
          <UsageCard runs={runs} />
          <DifferenceCard runs={runs} differences={differences} />
        </>
      )}
    </Loaded>
  );
}

/** Which run is better, by how much, and am I sure? */
export function ComparePage({ ids }: { readonly ids: readonly string[] }) {
  const runs = useCall('runs.list', undefined);
  const [, navigate] = useLocation();
  return (
    <>
      <PageHead
        title="Compare"
        actions={
          <Button disabled={ids.length === 0} onClick={() => navigate(`/report/${ids.join(',')}`)}>
            Report
          </Button>
        }
      />
      <Loaded query={runs} what="the runs" lines={4}>
        {(list) => {
          if (list.length === 0) {
            return (
              <EmptyState text="Nothing to compare yet. The sample makes two runs on equal terms.">
                <Link href="/" className="button">
                  Try the sample
                </Link>
              </EmptyState>
            );
          }
          const known = ids.filter((id) => list.some((run) => run.id === id));
          const colours = runColours(list);
          return (
            <>
              <Picker runs={list} ids={known} colours={colours} />
              {known.length === 0 ? (
                <EmptyState text="Choose runs above to lay their curves over each other." />
              ) : (
                <Comparing ids={known} colours={colours} />
              )}
            </>
          );
        }}
      </Loaded>
    </>
  );
}
