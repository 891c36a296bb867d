import type { RunEventRecord } from '#core/contract/metrics.ts';
import { Button } from '../../ui/button.tsx';
import { formatCount } from '../../ui/format.ts';

/** Moves curves, heat map, table and sentences together through the run's time. */
export function Scrubber({
  first,
  last,
  at,
  events,
  live,
  onAt,
}: {
  readonly first: number;
  readonly last: number;
  /** The step shown; undefined: the newest. */
  readonly at: number | undefined;
  readonly events: readonly RunEventRecord[];
  /** Whether newer steps can come. */
  readonly live: boolean;
  readonly onAt: (step: number | undefined) => void;
}) {
  const share = (step: number) => `${(100 * (step - first)) / Math.max(1, last - first)}%`;
  const marked = events.filter(
    ({ kind, step }) => (kind === 'phase' || kind === 'checkpoint') && step >= first && step <= last,
  );
  const newest = live ? 'live' : 'end';
  return (
    <div className="scrubber num">
      <span>step {formatCount(first)}</span>
      <div className="scrub-track">
        {marked.map((event) => (
          <i
            key={event.id}
            className={event.kind}
            style={{ left: share(event.step) }}
            title={`step ${event.step}: ${event.message}`}
          />
        ))}
        <input
          type="range"
          aria-label="Step shown"
          aria-valuetext={at === undefined ? `step ${last}, ${newest}` : `step ${at}`}
          min={first}
          max={last}
          value={at ?? last}
          onChange={(event) => {
            const step = event.target.valueAsNumber;
            onAt(step >= last ? undefined : step);
          }}
        />
      </div>
      <span className="scrub-now">
        {at === undefined ? (
          <>
            step {formatCount(last)} · {newest}
          </>
        ) : (
          <>
            step {formatCount(at)}{' '}
            <Button small onClick={() => onAt(undefined)}>
              {live ? 'Back to live' : 'To the end'}
            </Button>
          </>
        )}
      </span>
    </div>
  );
}
