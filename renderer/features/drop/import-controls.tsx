import { type SubmitEvent, useRef, useState } from 'react';
import { useCall, useClient } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import type { ImportSource } from './use-import.ts';

/**
 * Buttons and a path field for choosing a data file or a model folder. The desktop shell opens its own dialog; in a
 * browser, files are uploaded to the host on this machine and folders are typed.
 */
export function ImportControls({
  kind,
  busy,
  noun = kind === 'data' ? 'data file' : 'model folder',
  example = kind === 'data' ? 'or a path: /data/train.jsonl' : '/models/olmoe-1b-7b',
  verb = 'Add',
  onPick,
  onError,
}: {
  readonly kind: 'data' | 'folder';
  readonly busy: boolean;
  /** What is chosen. */
  readonly noun?: string;
  /** A path, shown while none is typed. */
  readonly example?: string;
  /** What is done with a typed path. */
  readonly verb?: string;
  /** @param done to be called when it was taken: empties the field, which until then can be corrected. */
  readonly onPick: (picked: ImportSource, done: () => void) => void;
  readonly onError: (error: unknown) => void;
}) {
  const client = useClient();
  const info = useCall('app.info', undefined);
  const [path, setPath] = useState('');
  const input = useRef<HTMLInputElement>(null);
  const desktop = info.data?.shell === 'electron';
  const done = () => setPath('');
  const choose = () => {
    client.call('files.choose', { kind }).then((chosen) => {
      if (chosen !== null) onPick(chosen, done);
    }, onError);
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (path.trim() === '' || busy) return;
    onPick({ path: path.trim() }, done);
  };
  return (
    <div className="import-controls">
      {desktop && (
        <Button look="primary" disabled={busy} onClick={choose}>
          Choose a {noun}…
        </Button>
      )}
      {!desktop && kind === 'data' && (
        <>
          <Button look="primary" disabled={busy} onClick={() => input.current?.click()}>
            Choose a {noun}…
          </Button>
          <input
            ref={input}
            type="file"
            hidden
            aria-label="Data file"
            accept=".jsonl,.ndjson,.json,.csv,.tsv,.parquet"
            onChange={(event) => {
              const file = event.target.files?.item(0);
              if (file) onPick({ file }, done);
              event.target.value = '';
            }}
          />
        </>
      )}
      <form onSubmit={submit}>
        <input
          className="input mono"
          aria-label={`Path of a ${noun}`}
          placeholder={example}
          value={path}
          readOnly={busy}
          onChange={(event) => setPath(event.target.value)}
        />
        <Button type="submit" disabled={busy || path.trim() === ''}>
          {verb}
        </Button>
      </form>
    </div>
  );
}
