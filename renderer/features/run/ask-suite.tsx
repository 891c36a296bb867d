import { useState } from 'react';
import { z } from 'zod';
import type { RunDetail } from '#core/contract/run.ts';
import { AskOptions } from '#core/contract/suite-score.ts';
import type { RegisteredFile } from '../../api/transport.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { formatCount, plural } from '../../ui/format.ts';
import { SchemaForm, type Values } from '../../ui/schema-form.tsx';
import { Segmented } from '../../ui/segmented.tsx';
import { Select } from '../../ui/select.tsx';
import { PathChoice } from '../drop/index.ts';
import { JobStart } from './job-start.tsx';

const optionsSchema = z.toJSONSchema(AskOptions, { io: 'input' });

/** Where a suite comes from. */
type Source = 'held-out' | 'dataset' | 'file';

/** Chooses a suite and how it is asked, and starts. */
export function AskSuite({ detail, onClose }: { readonly detail: RunDetail; readonly onClose: () => void }) {
  const heldOut = detail.facts?.validationRows ?? 0;
  const [source, setSource] = useState<Source>(heldOut > 0 ? 'held-out' : 'file');
  const [file, setFile] = useState<RegisteredFile>();
  const datasets = useCall('datasets.list', undefined);
  // Plain text has no question, and what the columns of an unknown format mean is said on its page.
  const asked = (datasets.data ?? []).filter(
    ({ recordFormat }) => recordFormat !== 'text' && recordFormat !== 'unknown',
  );
  const [chosen, setChosen] = useState<string>();
  const dataset = asked.find(({ id }) => id === chosen);
  const isTrained = detail.spec.data.train.some((file) => file.path === dataset?.path);
  const [options, setOptions] = useState<Values>({});
  const [errors, setErrors] = useState<Readonly<Record<string, string | undefined>>>({});
  const start = useCommand('scores.start', ['scores.get']);
  const wrong = Object.values(errors).find((error) => error !== undefined);
  const suites = {
    'held-out': { heldOut: true } as const,
    dataset: dataset && { dataset: dataset.id },
    file: file && { handle: file.handle },
  };
  const suite = suites[source];
  const blocked =
    wrong ?? (suite === undefined ? (source === 'file' ? 'Needs a file.' : 'Needs a data set.') : undefined);
  const submit = () => {
    if (suite === undefined) return;
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
            {
              value: 'dataset',
              label: 'a data set',
              disabled: asked.length === 0,
              why:
                asked.length === 0
                  ? 'No data set with questions and answers is in the list.'
                  : 'One that was imported, with its columns as they were mapped.',
            },
            { value: 'file', label: 'a file' },
          ]}
          onChange={setSource}
        />
        {source === 'dataset' && (
          <Select
            small
            label="Data set"
            value={dataset?.id ?? null}
            choices={asked.map(({ id, name, rows }) => ({
              value: id,
              label: name,
              note: plural(rows, 'row'),
            }))}
            onChange={setChosen}
          />
        )}
      </div>
      {source === 'dataset' && isTrained && (
        <p className="warn-ink">The run was trained on rows of it: the score says little about others.</p>
      )}
      {source === 'file' && (
        <PathChoice
          kind="data"
          noun="suite"
          drop={{ words: 'Drop to ask its questions' }}
          chosen={file}
          onChange={setFile}
        >
          Or drop it here: JSONL, JSON, CSV, TSV or Parquet with a question and its right answer in each row.
          Where its columns have names of their own, import it under Data, map them there, and choose the data
          set here.
        </PathChoice>
      )}
      <SchemaForm
        schema={optionsSchema}
        values={options}
        onChange={setOptions}
        onError={(key, error) => setErrors((old) => ({ ...old, [key]: error }))}
      />
      <JobStart word="Ask" start={start} blocked={blocked} onStart={submit} onClose={onClose} />
    </div>
  );
}
