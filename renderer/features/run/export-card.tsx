import { useState } from 'react';
import type { RunDetail } from '#core/contract/run.ts';
import type { ExportState } from '#core/contract/run-export.ts';
import { useCall } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { formatAgo, formatBytes, formatCount, plural } from '../../ui/format.ts';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import { ExportForm } from './export-form.tsx';
import { JobProgress } from './job-progress.tsx';

/** How far an export is, in words. */
function writingWords({ progress }: NonNullable<ExportState['active']>): string {
  if (progress === undefined) return 'the run is being read';
  return progress.written < progress.of
    ? `${formatBytes(progress.written)} of ${formatBytes(progress.of)} written`
    : `${formatBytes(progress.written)} written, being read back`;
}

/** What was written and where, and what reading it back showed. */
function Exported({ done }: { readonly done: ExportState['done'][number] }) {
  const { format, dtype, out, step, files, verified, notes, createdMs, isThere } = done;
  return (
    <li className="stack tight">
      <dl className="facts">
        <dt>Folder</dt>
        <dd>
          <code>{out}</code> <CopyButton label="Copy" text={() => out} />
          {!isThere && <div className="warn-ink">It is not there any more: moved or deleted.</div>}
        </dd>
        <dt>Written</dt>
        <dd>
          step {formatCount(step)} as {format}, {dtype} · {plural(files.length, 'file')},{' '}
          {formatBytes(files.reduce((sum, { bytes }) => sum + bytes, 0))} · {formatAgo(createdMs, Date.now())}
        </dd>
        <dt>Files</dt>
        <dd>{files.map(({ name, bytes }) => `${name} (${formatBytes(bytes)})`).join(' · ')}</dd>
        <dt>Check</dt>
        <dd>{verified}</dd>
      </dl>
      {notes.map((note) => (
        <p key={note} className="warn-ink">
          {note}
        </p>
      ))}
    </li>
  );
}

/** The trained model of an ended run, written for use elsewhere. */
export function ExportCard({ detail }: { readonly detail: RunDetail }) {
  const { id } = detail;
  const state = useCall('exports.get', { id });
  const [open, setOpen] = useState(false);
  const start = (
    <Button small onClick={() => setOpen(true)}>
      Export…
    </Button>
  );
  const canStart = !open && state.data !== undefined && !state.data.active;
  return (
    <Card title="Export" aside={canStart && state.data.done.length > 0 ? start : undefined}>
      <Loaded query={state} what="the exports">
        {({ active, done, failure }) => (
          <div className="stack">
            {active !== undefined && (
              <JobProgress
                id={id}
                subject="exports"
                title={active.out}
                stop="Stop, keep nothing"
                label="Bytes written"
                said={writingWords(active)}
                done={active.progress?.written ?? 0}
                of={active.progress?.of ?? 0}
              />
            )}
            {failure !== undefined && (
              <ErrorNote what={`${failure.out} was not written`} error={failure.error} />
            )}
            {open && active === undefined && <ExportForm detail={detail} onClose={() => setOpen(false)} />}
            {done.length > 0 ? (
              <ul className="exported" aria-label="Exports">
                {done.map((written) => (
                  <Exported key={written.out} done={written} />
                ))}
              </ul>
            ) : (
              !open &&
              active === undefined && (
                <EmptyState
                  inset
                  text="Write the trained model for use elsewhere: as a Hugging Face folder, the weights that changed, an adapter or an ONNX file. It is read back before the folder gets its name."
                >
                  {start}
                </EmptyState>
              )
            )}
          </div>
        )}
      </Loaded>
    </Card>
  );
}
