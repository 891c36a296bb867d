import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { CallInput } from '#core/contract/host-api.ts';
import { useCall, useClient } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { download } from '../../ui/download.ts';
import { formatBytes } from '../../ui/format.ts';
import { RunStateChip } from '../../ui/run-state-chip.tsx';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import './report.css';

type Format = CallInput<'reports.build'>['format'];

const formats: readonly { readonly format: Format; readonly label: string; readonly type: string }[] = [
  { format: 'html', label: 'HTML', type: 'text/html' },
  { format: 'markdown', label: 'Markdown', type: 'text/markdown' },
  { format: 'json', label: 'JSON', type: 'application/json' },
];

function Preview({ ids }: { readonly ids: readonly string[] }) {
  const report = useCall('reports.build', { ids: [...ids], format: 'html' });
  return (
    <Loaded query={report} what="the report" lines={10}>
      {({ fileName, text }) => (
        <Card
          title="Preview"
          aside={
            <span>
              {fileName} · {formatBytes(new Blob([text]).size)} · opens without a network
            </span>
          }
          flush
        >
          {/* Without any permission: the report is a document, not a program. */}
          <iframe className="report-frame" title="Preview of the report" sandbox="" srcDoc={text} />
        </Card>
      )}
    </Loaded>
  );
}

function Downloads({ ids }: { readonly ids: readonly string[] }) {
  const client = useClient();
  const [busy, setBusy] = useState<Format>();
  const [failed, setFailed] = useState<unknown>();
  const save = (format: Format, type: string) => {
    setBusy(format);
    setFailed(undefined);
    client
      .call('reports.build', { ids: [...ids], format })
      .then(({ fileName, text }) => download(fileName, text, type), setFailed)
      .finally(() => setBusy(undefined));
  };
  return (
    <>
      <div className="row wrap">
        {formats.map(({ format, label, type }) => (
          <Button
            key={format}
            look={format === 'html' ? 'primary' : undefined}
            disabled={busy !== undefined}
            onClick={() => save(format, type)}
          >
            {busy === format ? 'Building…' : `Save ${label}`}
          </Button>
        ))}
      </div>
      {failed !== undefined && <ErrorNote what="The report was not built" error={toErrorInfo(failed)} />}
    </>
  );
}

/** Chooses runs, previews their report, saves it. */
export function ReportPage({ ids }: { readonly ids: readonly string[] }) {
  const runs = useCall('runs.list', undefined);
  const [, navigate] = useLocation();
  const toggle = (id: string, on: boolean) => {
    const next = on ? [...ids, id] : ids.filter((other) => other !== id);
    navigate(next.length === 0 ? '/report' : `/report/${next.join(',')}`);
  };
  return (
    <>
      <PageHead title="Report" actions={ids.length > 0 ? <Downloads ids={ids} /> : undefined} />
      <Loaded query={runs} what="the runs" lines={4}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState text="No run to report on yet. The sample makes two.">
              <Link href="/" className="button">
                Try the sample
              </Link>
            </EmptyState>
          ) : (
            <Card title={`Runs · ${ids.length} chosen`}>
              <div className="report-runs">
                {[...list]
                  .sort((a, b) => b.createdMs - a.createdMs)
                  .map((run) => (
                    <label key={run.id}>
                      <input
                        type="checkbox"
                        checked={ids.includes(run.id)}
                        onChange={(event) => toggle(run.id, event.target.checked)}
                      />
                      <span className="ellipsis" title={run.name}>
                        {run.name}
                      </span>
                      <RunStateChip state={run.state} />
                    </label>
                  ))}
              </div>
            </Card>
          )
        }
      </Loaded>
      {ids.length === 0 ? (
        runs.data !== undefined &&
        runs.data.length > 0 && (
          <EmptyState text="Choose one run or several. The report holds a summary in words, curves, heat maps, tables, the configuration and the hashes of model, data and code." />
        )
      ) : (
        <Preview key={ids.join(',')} ids={ids} />
      )}
    </>
  );
}
