import { useState } from 'react';
import { z } from 'zod';
import { toErrorInfo } from '#core/contract/errors.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { AskOptions } from '#core/contract/suite-score.ts';
import type { RegisteredFile } from '../../api/transport.ts';
import { useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { formatCount } from '../../ui/format.ts';
import { SchemaForm, type Values } from '../../ui/schema-form.tsx';
import { Segmented } from '../../ui/segmented.tsx';
import { ErrorNote } from '../../ui/states.tsx';
import { PathChoice } from '../drop/index.ts';

const optionsSchema = z.toJSONSchema(AskOptions, { io: 'input' });

/** Where a suite comes from. */
type Source = 'held-out' | 'file';

/** Chooses a suite and how it is asked, and starts. */
export function AskSuite({ detail, onClose }: { readonly detail: RunDetail; readonly onClose: () => void }) {
  const heldOut = detail.facts?.validationRows ?? 0;
  const [source, setSource] = useState<Source>(heldOut > 0 ? 'held-out' : 'file');
  const [file, setFile] = useState<RegisteredFile>();
  const [options, setOptions] = useState<Values>({});
  const [errors, setErrors] = useState<Readonly<Record<string, string | undefined>>>({});
  const start = useCommand('scores.start', ['scores.get']);
  const wrong = Object.values(errors).find((error) => error !== undefined);
  const blocked = wrong ?? (source === 'file' && file === undefined ? 'Needs a file.' : undefined);
  const submit = () => {
    if (blocked !== undefined || start.isPending) return;
    const suite =
      source === 'file' && file !== undefined ? { handle: file.handle } : ({ heldOut: true } as const);
    start.mutate({ id: detail.id, suite, options: AskOptions.parse(options) }, { onSuccess: onClose });
  };
  return (
    <div className="stack" role="group" aria-label="Ask a suite">
      <div className="row wrap">
        <b>Questions from</b>
        <Segmented
          label="Questions from"
          value={source}
          choices={[
            {
              value: 'held-out',
              label: heldOut > 0 ? `the ${formatCount(heldOut)} rows held out` : 'rows held out',
              disabled: heldOut === 0,
              why: heldOut === 0 ? 'The run held no rows out.' : 'What the validation loss was measured on.',
            },
            { value: 'file', label: 'a file' },
          ]}
          onChange={setSource}
        />
      </div>
      {source === 'file' && (
        <PathChoice
          kind="data"
          noun="suite"
          drop={{ words: 'Drop to ask its questions' }}
          chosen={file}
          onChange={setFile}
        >
          Or drop it here: JSONL, JSON, CSV, TSV or Parquet with a question and its right answer in each row.
        </PathChoice>
      )}
      <SchemaForm
        schema={optionsSchema}
        values={options}
        onChange={setOptions}
        onError={(key, error) => setErrors((old) => ({ ...old, [key]: error }))}
      />
      {start.error !== null && <ErrorNote what="It was not started" error={toErrorInfo(start.error)} />}
      <div className="row wrap">
        <Button look="primary" aria-disabled={blocked !== undefined || start.isPending} onClick={submit}>
          {start.isPending ? 'Starting…' : 'Ask'}
        </Button>
        <Button onClick={onClose}>Cancel</Button>
        {blocked !== undefined && <span className="muted">{blocked}</span>}
      </div>
    </div>
  );
}
