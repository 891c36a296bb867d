import { useEffect, useState } from 'react';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { useCommand, useConnection } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { formatCount, formatDuration } from '../../ui/format.ts';
import { ErrorNote } from '../../ui/states.tsx';

/** A worker that has not been heard of for this long is worth a line. */
const SILENT_MS = 12_000;

const exits: Partial<Record<NonNullable<RunDetail['exit']>, string>> = {
  killed: 'The training process was ended from outside.',
  oom: 'The machine ran out of memory. A smaller micro-batch or shorter examples need less.',
  lost: 'The training process disappeared without a word.',
};

function saved(detail: RunDetail): string {
  const last = detail.checkpoints.at(-1);
  const metrics =
    detail.lastStep > 0 ? `Every metric up to step ${formatCount(detail.lastStep)} is saved. ` : '';
  return last === undefined
    ? `${metrics}There is no checkpoint: resuming starts from the base model.`
    : `${metrics}Resuming goes on from the checkpoint at step ${formatCount(last.step)}.`;
}

function Silence({ ageMs, askedMs }: { readonly ageMs: number; readonly askedMs: number }) {
  const [nowMs, setNowMs] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const connected = useConnection().state === 'open';
  const silentMs = ageMs + Math.max(0, nowMs - askedMs);
  // Without a connection the page cannot know.
  if (silentMs < SILENT_MS || !connected) return null;
  return (
    <div className="notice warn" role="status">
      <strong>No sign from the training process for {formatDuration(silentMs / 1000)}</strong>
      <p className="muted">
        It may be swapping or stuck. If it is gone, the run becomes “interrupted” and can be resumed.
      </p>
    </div>
  );
}

/** Why the run is not going on, what was saved, and how to go on. */
export function RunNotices({ detail, askedMs }: { readonly detail: RunDetail; readonly askedMs: number }) {
  const resume = useCommand('runs.resume', ['runs.get', 'runs.list']);
  const { state, error, heartbeatAgeMs } = detail;
  if ((state === 'running' || state === 'preparing') && heartbeatAgeMs !== undefined) {
    return <Silence ageMs={heartbeatAgeMs} askedMs={askedMs} />;
  }
  if (state !== 'failed' && state !== 'interrupted') {
    return detail.reason === undefined ? null : <p className="muted">{detail.reason}</p>;
  }
  const why =
    error?.message ?? detail.reason ?? (detail.exit && exits[detail.exit]) ?? 'The reason was not recorded.';
  const details = JSON.stringify(
    { run: detail.id, state, exit: detail.exit, reason: detail.reason, error },
    null,
    2,
  );
  return (
    <div className={`notice ${state === 'failed' ? 'bad' : 'warn'}`} role="alert">
      <strong>{state === 'failed' ? 'The run failed' : 'The run was interrupted'}</strong>
      <p>{why}</p>
      {error?.hint !== undefined && <p className="muted">{error.hint}</p>}
      <p className="muted">{saved(detail)}</p>
      {resume.error !== null && <ErrorNote what="It was not resumed" error={toErrorInfo(resume.error)} />}
      <div className="row wrap">
        <Button
          small
          look="primary"
          disabled={resume.isPending}
          onClick={() => resume.mutate({ id: detail.id })}
        >
          {resume.isPending ? 'Resuming…' : 'Resume'}
        </Button>
        {(detail.facts?.provider ?? detail.spec.engine.provider) === 'webgpu' && (
          <Button
            small
            disabled={resume.isPending}
            onClick={() => resume.mutate({ id: detail.id, provider: 'cpu' })}
          >
            Resume on the CPU
          </Button>
        )}
        <CopyButton label="Copy details" text={() => details} />
        {error !== undefined && <code className="muted">{error.code}</code>}
      </div>
    </div>
  );
}
