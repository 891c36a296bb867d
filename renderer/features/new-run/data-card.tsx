import type { UseQueryResult } from '@tanstack/react-query';
import { useState, type Dispatch, type SetStateAction } from 'react';
import { Link } from 'wouter';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import { Card } from '../../ui/card.tsx';
import { formatBytes, plural } from '../../ui/format.ts';
import { Segmented } from '../../ui/segmented.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import { Switch } from '../../ui/switch.tsx';
import { type FormState, runSpecSchema, type SetError, type SetSection } from './draft.ts';
import { schemaAt } from '../../ui/field-model.ts';
import { SchemaForm } from '../../ui/schema-form.tsx';

const dataSchema = schemaAt(runSpecSchema, 'data');
const SIMPLE = ['maxLength', 'lossOn'];
const SKIP = ['train', 'validation', 'general'];
const FRACTIONS = [0, 0.01, 0.02, 0.05, 0.1];

function Pick({
  list,
  picked,
  label,
  onChange,
}: {
  readonly list: readonly DatasetEntry[];
  readonly picked: readonly string[];
  readonly label: string;
  readonly onChange: (ids: readonly string[]) => void;
}) {
  return (
    <div className="choices" role="group" aria-label={label}>
      {list.map((set) => (
        <label key={set.id} className="choice">
          <input
            type="checkbox"
            checked={picked.includes(set.id)}
            disabled={set.recordFormat === 'unknown'}
            onChange={(event) =>
              onChange(
                event.target.checked ? [...picked, set.id] : picked.filter((other) => other !== set.id),
              )
            }
          />
          <span>
            <b title={set.name}>{set.name}</b>
            <small className="num">
              {plural(set.rows, 'row')} · {set.recordFormat} · {formatBytes(set.bytes)}
            </small>
            {set.recordFormat === 'unknown' && (
              <small className="warn-ink">
                Columns are not mapped. <Link href={`/data/${set.id}`}>Map them</Link>
              </small>
            )}
          </span>
        </label>
      ))}
    </div>
  );
}

/** Data that the model should not become worse at; hidden until someone wants to know. */
function Forgetting({
  list,
  picked,
  onChange,
}: {
  readonly list: readonly DatasetEntry[];
  readonly picked: readonly string[];
  readonly onChange: (ids: readonly string[]) => void;
}) {
  const [open, setOpen] = useState(false);
  const shown = open || picked.length > 0;
  return (
    <>
      <div className="row wrap">
        <h3>Forgetting</h3>
        <Switch
          id="measure-forgetting"
          label="Measure forgetting"
          describedBy="measure-forgetting-note"
          checked={shown}
          onChange={(next) => {
            setOpen(next);
            if (!next) onChange([]);
          }}
        />
        <span id="measure-forgetting-note" className="muted">
          How much worse the model becomes at data unlike the training data, measured with the validation
          loss.
        </span>
      </div>
      {shown &&
        (list.length === 0 ? (
          <p className="muted">There is no other data set. Import general text or questions under Data.</p>
        ) : (
          <Pick list={list} picked={picked} label="General data" onChange={onChange} />
        ))}
    </>
  );
}

/** Which rows to train on, and which to hold out. */
export function DataCard({
  form,
  datasets,
  setForm,
  setSection,
  setError,
}: {
  readonly form: FormState;
  readonly datasets: UseQueryResult<DatasetEntry[]>;
  readonly setForm: Dispatch<SetStateAction<FormState>>;
  readonly setSection: SetSection;
  readonly setError: SetError;
}) {
  const { validation } = form;
  const held = 'ids' in validation ? 'files' : 'share';
  return (
    <Card title="2 · Data" aside={<Link href="/data">Manage data</Link>}>
      <Loaded query={datasets} what="the data sets">
        {(list) =>
          list.length === 0 ? (
            <EmptyState inset text="No data yet. Drop a file anywhere on this page, or import one.">
              <Link href="/data" className="button">
                Import data
              </Link>
            </EmptyState>
          ) : (
            <div className="stack">
              <Pick
                list={list}
                picked={form.trainIds}
                label="Training data"
                onChange={(trainIds) =>
                  setForm((old) => ({
                    ...old,
                    trainIds,
                    generalIds: old.generalIds.filter((id) => !trainIds.includes(id)),
                  }))
                }
              />
              <div className="row wrap">
                <h3>Validation</h3>
                <Segmented
                  label="Validation"
                  value={held}
                  choices={[
                    { value: 'share', label: 'a share of the rows' },
                    { value: 'files', label: 'another data set' },
                  ]}
                  onChange={(next) =>
                    setForm((old) => ({
                      ...old,
                      validation: next === 'files' ? { ids: [] } : { fraction: 0.02 },
                    }))
                  }
                />
                {'fraction' in validation && (
                  <Segmented
                    label="Share held out"
                    value={String(validation.fraction)}
                    choices={[...new Set([...FRACTIONS, validation.fraction])].map((share) => ({
                      value: String(share),
                      label: share === 0 ? 'none' : `${share * 100} %`,
                    }))}
                    onChange={(share) =>
                      setForm((old) => ({ ...old, validation: { fraction: Number(share) } }))
                    }
                  />
                )}
              </div>
              {'ids' in validation && (
                <Pick
                  list={list.filter((set) => !form.trainIds.includes(set.id))}
                  picked={validation.ids}
                  label="Validation data"
                  onChange={(ids) => setForm((old) => ({ ...old, validation: { ids } }))}
                />
              )}
              <Forgetting
                list={list.filter((set) => !form.trainIds.includes(set.id))}
                picked={form.generalIds}
                onChange={(generalIds) => setForm((old) => ({ ...old, generalIds }))}
              />
              <SchemaForm
                schema={dataSchema}
                values={form.sections.data}
                simple={SIMPLE}
                skip={SKIP}
                onChange={(values) => setSection('data', values)}
                onError={(key, error) => setError('data', key, error)}
              />
            </div>
          )
        }
      </Loaded>
    </Card>
  );
}
