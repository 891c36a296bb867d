import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import { toErrorInfo } from '#core/contract/errors.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { PageHead } from '../../ui/card.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import { formatBytes, plural } from '../../ui/format.ts';
import { ErrorNote } from '../../ui/states.tsx';
import { ColumnMapping } from './column-mapping.tsx';
import { formatNames } from './mapping-fields.ts';
import { ReadAsTokens } from './read-as-tokens.tsx';

/** One data set: its columns, its findings, and its rows as tokens. */
export function DatasetView({ entry }: { readonly entry: DatasetEntry }) {
  const remove = useCommand('datasets.remove', ['datasets.list']);
  const [asking, setAsking] = useState(false);
  const [, navigate] = useLocation();
  const known = entry.recordFormat !== 'unknown';
  return (
    <>
      <PageHead
        title={entry.name}
        state={<span className={known ? 'chip ok' : 'chip warn'}>{formatNames[entry.recordFormat]}</span>}
        actions={
          <>
            <Button look="quiet" onClick={() => setAsking(true)}>
              Remove…
            </Button>
            {known && (
              <Link href={`/new/data/${entry.id}`} className="button">
                New run with it
              </Link>
            )}
          </>
        }
      />
      <p className="data-facts num muted">
        <span>
          <b>{plural(entry.rows, 'row')}</b>
        </span>
        <span>{entry.fileFormat.toUpperCase()}</span>
        <span>{formatBytes(entry.bytes)}</span>
        <code className="ellipsis" title={entry.path}>
          {entry.path}
        </code>
        <span className="ellipsis" title={entry.sha256}>
          SHA-256 <code>{entry.sha256.slice(0, 12)}…</code>
        </span>
      </p>
      <ColumnMapping key={JSON.stringify(entry.mapping)} entry={entry} />
      {known && <ReadAsTokens entry={entry} />}
      <Dialog open={asking} title={`Remove ${entry.name} from the list`} onClose={() => setAsking(false)}>
        <p>The file stays where it is. Runs that used it are kept.</p>
        {remove.error !== null && <ErrorNote what="It was not removed" error={toErrorInfo(remove.error)} />}
        <div className="dialog-actions">
          <Button onClick={() => setAsking(false)}>Keep it</Button>
          <Button
            look="primary"
            disabled={remove.isPending}
            onClick={() => remove.mutate({ id: entry.id }, { onSuccess: () => navigate('/data') })}
          >
            Remove from the list
          </Button>
        </div>
      </Dialog>
    </>
  );
}
