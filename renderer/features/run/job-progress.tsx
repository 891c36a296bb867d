import { toErrorInfo } from '#core/contract/errors.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { ErrorNote } from '../../ui/states.tsx';

/** How far what is done with the model of a run is, and a way to stop. */
export function JobProgress({
  id,
  subject,
  title,
  label,
  stop: stopText,
  said,
  done,
  of,
}: {
  readonly id: string;
  /** Part of the host API that does it. */
  readonly subject: 'scores' | 'exports';
  readonly title: string;
  /** Accessible name of the bar. */
  readonly label: string;
  /** What stopping does, as its button says it. */
  readonly stop: string;
  /** How far it is, in words. */
  readonly said: string;
  readonly done: number;
  readonly of: number;
}) {
  const stop = useCommand(`${subject}.stop`, [`${subject}.get`]);
  return (
    <div className="stack tight">
      <div className="row">
        <span className="ellipsis" title={title}>
          {title}
        </span>
        <span className="muted num grow">{said}</span>
        <Button small disabled={stop.isPending} onClick={() => stop.mutate({ id })}>
          {stop.isPending ? 'Stopping…' : stopText}
        </Button>
      </div>
      <div
        className="run-progress-bar"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={of}
        aria-valuenow={Math.min(done, of)}
      >
        <i style={{ width: `${(100 * Math.min(done, of)) / Math.max(1, of)}%` }} />
      </div>
      {stop.error !== null && <ErrorNote what="It was not stopped" error={toErrorInfo(stop.error)} />}
    </div>
  );
}
