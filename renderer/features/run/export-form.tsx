import { useState } from 'react';
import type { RunDetail } from '#core/contract/run.ts';
import { ExportDtype, type ExportFormat, FolderName, USUAL_DTYPES } from '#core/contract/run-export.ts';
import type { RegisteredFile } from '../../api/transport.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { Loaded } from '../../ui/states.tsx';
import { PathChoice } from '../drop/index.ts';
import { JobStart } from './job-start.tsx';

/** What each format is for. */
const formats: readonly { readonly value: ExportFormat; readonly label: string; readonly use: string }[] = [
  {
    value: 'hf',
    label: 'Hugging Face folder',
    use: 'The whole model, adapters merged: for transformers and all that loads its folders.',
  },
  {
    value: 'delta',
    label: 'Delta',
    use: 'Only the weights that changed, and the hash of the checkpoint they belong to: small to keep or to send.',
  },
  {
    value: 'adapter',
    label: 'Adapter',
    use: 'Low-rank adapters in the format of PEFT, to be loaded onto the checkpoint.',
  },
  {
    value: 'onnx',
    label: 'ONNX',
    use: 'The decoder as one graph, from token ids to logits: for ONNX Runtime in any language.',
  },
];

const dtypes: Readonly<Record<ExportDtype, string>> = {
  source: 'as in the checkpoint',
  F32: 'float32',
  BF16: 'bfloat16',
  F16: 'float16',
};

/** A name for the folder of an export: that of the run without what folders cannot be called. */
function usualName(run: string, format: ExportFormat): string {
  return `${run
    .replaceAll(/[^\p{L}\p{N}._-]+/gu, '-')
    .replaceAll(/^[-.]+|[-.]+$/g, '')
    .slice(0, 120)}-${format}`;
}

/** Chooses what is written and where, and starts. */
export function ExportForm({
  detail,
  onClose,
}: {
  readonly detail: RunDetail;
  readonly onClose: () => void;
}) {
  const { id } = detail;
  const refused = useCall('exports.refused', { id });
  const [format, setFormat] = useState<ExportFormat>('hf');
  const [dtype, setDtype] = useState<ExportDtype>();
  const [folder, setFolder] = useState<RegisteredFile>();
  const [typed, setTyped] = useState<string>();
  const start = useCommand('exports.start', ['exports.get']);
  const name = typed ?? usualName(detail.name, format);
  const blocked =
    folder === undefined
      ? 'Needs a folder to write to.'
      : FolderName.safeParse(name).success
        ? undefined
        : 'The new folder needs a name without / and \\.';
  const submit = () => {
    if (folder === undefined) return;
    start.mutate(
      { id, format, dtype: dtype ?? USUAL_DTYPES[format], folder: folder.handle, name },
      { onSuccess: onClose },
    );
  };
  return (
    <div className="stack" role="group" aria-label="Export the run">
      <Loaded query={refused} what="what the run can be exported as">
        {(cannot) => (
          <div className="choices two" role="radiogroup" aria-label="Format">
            {formats.map(({ value, label, use }) => {
              const why = cannot.find((entry) => entry.format === value)?.error.message;
              return (
                <label key={value} className="choice">
                  <input
                    type="radio"
                    name="export-format"
                    checked={format === value}
                    disabled={why !== undefined}
                    onChange={() => {
                      setFormat(value);
                      setDtype(undefined);
                    }}
                  />
                  <span>
                    <b>{label}</b>
                    <small>{use}</small>
                    {why !== undefined && <small className="warn-ink">Not here: {why}.</small>}
                  </span>
                </label>
              );
            })}
          </div>
        )}
      </Loaded>
      <div className="row wrap">
        <b>Numbers</b>
        <Segmented
          label="Numbers"
          value={dtype ?? USUAL_DTYPES[format]}
          choices={ExportDtype.options.map((value) => ({
            value,
            label: dtypes[value],
            ...(format === 'adapter' &&
              value === 'source' && { disabled: true, why: 'The checkpoint has no adapters.' }),
          }))}
          onChange={setDtype}
        />
      </div>
      <div className="stack tight">
        <b>In the folder</b>
        <PathChoice
          kind="folder"
          noun="folder"
          example="/models"
          drop={{ words: 'Drop to export into this folder', note: 'A folder on this machine.' }}
          chosen={folder}
          onChange={setFolder}
        >
          Or drop it here. A new folder is made in it.
        </PathChoice>
      </div>
      <label className="stack tight">
        <b>Name of the new folder</b>
        <input className="input mono" value={name} onChange={(event) => setTyped(event.target.value)} />
      </label>
      <JobStart word="Export" start={start} blocked={blocked} onStart={submit} onClose={onClose} />
    </div>
  );
}
