import { useState } from 'react';
import { Link } from 'wouter';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { canTransition, isEnded } from '#core/contract/run-state.ts';
import type { RunData } from '../../api/subscriptions.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { PageHead } from '../../ui/card.tsx';
import { formatCount, formatDuration, formatLarge, formatRange } from '../../ui/format.ts';
import { RunStateChip } from '../../ui/run-state-chip.tsx';
import { ErrorNote } from '../../ui/states.tsx';
import { RunMenu } from './run-menu.tsx';
import { StopDialog } from './stop-dialog.tsx';
import { secondsLeft } from './time-left.ts';

function Meta({ detail, data }: { readonly detail: RunDetail; readonly data: RunData }) {
  const done = Math.max(0, data.steps.at(-1)?.step ?? detail.lastStep);
  const total = detail.totalSteps;
  const tokens = data.steps.reduce((sum, step) => sum + step.tokens, 0);
  const running = detail.state === 'running';
  const left =
    running && total !== undefined ? secondsLeft(data.steps, Math.max(0, total - done)) : undefined;
  const checkpoint = detail.checkpoints.at(-1);
  const share = total === undefined || total === 0 ? 0 : Math.min(100, (100 * done) / total);
  return (
    <div>
      <div
        className="run-progress-bar"
        role="progressbar"
        aria-label="Steps done"
        aria-valuemin={0}
        aria-valuemax={total ?? 0}
        aria-valuenow={done}
      >
        <i style={{ width: `${share}%` }} />
      </div>
      <p className="run-meta num">
        <span>
          step <b>{formatCount(done)}</b>
          {total !== undefined && ` of ${formatCount(total)}`}
        </span>
        {tokens > 0 && (
          <span>
            <b>{formatLarge(tokens)}</b> tokens
          </span>
        )}
        <span>
          trained for <b>{formatDuration(detail.trainedSeconds)}</b>
        </span>
        {running && total !== undefined && (
          <span>
            left{' '}
            <b>
              {left === undefined
                ? 'known after a few steps'
                : formatRange(left.low, left.high, formatDuration)}
            </b>
          </span>
        )}
        <span>
          last checkpoint{' '}
          <b>{checkpoint === undefined ? 'none yet' : `step ${formatCount(checkpoint.step)}`}</b>
        </span>
      </p>
    </div>
  );
}

/** Title and state at the left, what can be done now at the right, progress below. */
export function RunHead({ detail, data }: { readonly detail: RunDetail; readonly data: RunData }) {
  const [stopping, setStopping] = useState(false);
  const stale = ['runs.get', 'runs.list'] as const;
  const pause = useCommand('runs.pause', stale);
  const resume = useCommand('runs.resume', stale);
  const checkpoint = useCommand('runs.checkpoint', stale);
  const { id, state } = detail;
  const resumable = state === 'paused' || (isEnded(state) && canTransition(state, 'enqueue'));
  const busy = pause.isPending || resume.isPending;
  const failed = pause.error ?? resume.error ?? checkpoint.error;
  return (
    <>
      <PageHead
        title={detail.name}
        state={
          <>
            <RunStateChip state={state} />
            <span className="chip">{detail.method}</span>
            <span className="chip" title={detail.modelName}>
              {detail.modelName}
            </span>
          </>
        }
        actions={
          <>
            {canTransition(state, 'pause') && (
              <Button disabled={busy} onClick={() => pause.mutate({ id })}>
                {pause.isPending ? 'Pausing…' : 'Pause'}
              </Button>
            )}
            {resumable && (
              <Button look="primary" disabled={busy} onClick={() => resume.mutate({ id })}>
                {resume.isPending ? 'Resuming…' : 'Resume'}
              </Button>
            )}
            {canTransition(state, 'stop') && <Button onClick={() => setStopping(true)}>Stop…</Button>}
            {(state === 'running' || state === 'paused') && (
              <Button disabled={checkpoint.isPending} onClick={() => checkpoint.mutate({ id })}>
                {checkpoint.isPending ? 'Saving…' : 'Checkpoint now'}
              </Button>
            )}
            {isEnded(state) && data.steps.length > 0 && (
              <Link href={`/report/${id}`} className="button">
                Report
              </Link>
            )}
            <RunMenu detail={detail} />
          </>
        }
      />
      {failed !== null && <ErrorNote what="That did not work" error={toErrorInfo(failed)} />}
      <Meta detail={detail} data={data} />
      <StopDialog detail={detail} open={stopping} onClose={() => setStopping(false)} />
    </>
  );
}
