import { useState } from 'react';
import type { RunEventRecord } from '#core/contract/metrics.ts';
import { Card } from '../../ui/card.tsx';
import { formatCount } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState, Skeleton } from '../../ui/states.tsx';

/** Newest events shown; older ones are in the report. */
const LIMIT = 300;

const time = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** What happened, newest first. */
export function EventsCard({
  events,
  loading,
  onStep,
}: {
  readonly events: readonly RunEventRecord[];
  readonly loading: boolean;
  readonly onStep: (step: number) => void;
}) {
  const [show, setShow] = useState<'events' | 'all'>('events');
  const wanted = show === 'all' ? events : events.filter((event) => event.kind !== 'log');
  const rows = wanted.slice(-LIMIT).reverse();
  const body = () => {
    if (loading) return <Skeleton label="Loading events" />;
    if (rows.length === 0) return <EmptyState inset text="Nothing has happened yet." />;
    return (
      // A region that scrolls must be reachable by keyboard.
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      <div className="events" tabIndex={0} role="region" aria-label="Events, newest first">
        <ol>
          {rows.map((event) => (
            <li key={event.id}>
              <time className="muted num" dateTime={new Date(event.wallMs).toISOString()}>
                {time.format(event.wallMs)}
              </time>
              <button type="button" className="row-link num" onClick={() => onStep(event.step)}>
                step {formatCount(event.step)}
              </button>
              <span className={event.kind === 'alert' ? 'warn-ink' : 'muted'}>{event.kind}</span>
              <span>{event.message}</span>
            </li>
          ))}
        </ol>
      </div>
    );
  };
  return (
    <Card
      title="Events"
      aside={
        <Segmented
          label="Events shown"
          value={show}
          choices={[
            { value: 'events', label: 'events' },
            { value: 'all', label: 'with log' },
          ]}
          onChange={setShow}
        />
      }
    >
      {body()}
    </Card>
  );
}
