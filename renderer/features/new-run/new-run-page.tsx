import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { type ErrorInfo, toErrorInfo } from '#core/contract/errors.ts';
import type { ComparisonDraft, RunDraft } from '#core/contract/host-api.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { PageHead } from '../../ui/card.tsx';
import { download } from '../../ui/download.ts';
import { listed } from '../../ui/format.ts';
import { ErrorNote } from '../../ui/states.tsx';
import { DataCard } from './data-card.tsx';
import {
  emptyForm,
  type FormState,
  fromRunJson,
  missingParts,
  type SetError,
  type SetSection,
  toComparison,
  toDraft,
  toRunJson,
} from './draft.ts';
import { MethodCard } from './method-card.tsx';
import { ModelChoice } from './model-choice.tsx';
import { ComparisonReview } from './comparison-review.tsx';
import { Plan, ReviewCard } from './review-card.tsx';
import { TrainingCard } from './training-card.tsx';
import { useSettled } from '../../api/use-settled.ts';
import './new-run.css';

/** Where the plan says no without a word. */
const REFUSED = 'The plan says that this run cannot start';

interface Drafted {
  readonly draft?: RunDraft;
  readonly comparison?: ComparisonDraft;
  readonly error?: ErrorInfo;
}

function draftOf(form: FormState): Drafted {
  try {
    return form.compared === undefined ? { draft: toDraft(form) } : { comparison: toComparison(form) };
  } catch (error) {
    return { error: toErrorInfo(error) };
  }
}

/** Five cards that describe a run, and its start. */
export function NewRunPage({
  modelId,
  datasetId,
}: {
  readonly modelId?: string;
  readonly datasetId?: string;
}) {
  const [form, setForm] = useState<FormState>(() => ({
    ...emptyForm,
    ...(modelId !== undefined && { modelId }),
    ...(datasetId !== undefined && { trainIds: [datasetId] }),
  }));
  const [errors, setErrors] = useState<Readonly<Record<string, string>>>({});
  const [importError, setImportError] = useState<ErrorInfo>();
  const [notes, setNotes] = useState<readonly string[]>([]);
  const file = useRef<HTMLInputElement>(null);
  const models = useCall('models.list', undefined);
  const datasets = useCall('datasets.list', undefined);
  const [only, ...others] = models.data ?? [];
  const onlyModel = others.length === 0 && only?.problems.length === 0 ? only.id : undefined;
  // Chosen once, when the list comes: an imported RUN.json may name a model that is not in it.
  useEffect(() => {
    if (onlyModel !== undefined) setForm((old) => ({ modelId: onlyModel, ...old }));
  }, [onlyModel]);
  const start = useCommand('runs.start', ['runs.list']);
  const startAll = useCommand('compare.start', ['runs.list']);
  const [, navigate] = useLocation();

  const setSection: SetSection = (section, values) =>
    setForm((old) => ({ ...old, sections: { ...old.sections, [section]: values } }));
  const setError: SetError = useCallback(
    (section, key, error) =>
      setErrors((old) => {
        const rest = Object.entries(old).filter(([other]) => other !== `${section}.${key}`);
        return Object.fromEntries(error === undefined ? rest : [...rest, [`${section}.${key}`, error]]);
      }),
    [],
  );

  const drafted = useMemo(() => draftOf(form), [form]);
  const wrong = Object.values(errors);
  const settled = useSettled(wrong.length === 0 ? drafted : undefined, 400);
  const plan = useCall('runs.plan', settled?.draft as RunDraft, {
    enabled: settled?.draft !== undefined,
    keep: true,
  });
  const planAll = useCall('compare.plan', settled?.comparison as ComparisonDraft, {
    enabled: settled?.comparison !== undefined,
    keep: true,
  });
  const missing = missingParts(form);
  const planned = form.compared === undefined ? plan.data : planAll.data;
  const refused = planned?.ok === false && settled === drafted ? (planned.problems[0] ?? REFUSED) : undefined;
  const blocked =
    missing.length > 0 ? `Start needs ${listed(missing)}` : (wrong[0] ?? drafted.error?.message ?? refused);

  const importFile = (chosen: File) => {
    chosen.text().then(
      (text) => {
        try {
          const imported = fromRunJson(text, chosen.name, models.data ?? [], datasets.data ?? []);
          setForm(imported.form);
          setNotes(imported.notes);
          setErrors({});
          setImportError(undefined);
        } catch (problem) {
          setImportError(toErrorInfo(problem));
        }
      },
      (problem: unknown) => setImportError(toErrorInfo(problem)),
    );
  };
  const exportFile = () => {
    try {
      const name = form.compared === undefined ? 'RUN.json' : 'COMPARISON.json';
      download(name, toRunJson(form, models.data ?? [], datasets.data ?? []), 'application/json');
      setImportError(undefined);
    } catch (problem) {
      setImportError(toErrorInfo(problem));
    }
  };
  const submit = () => {
    if (blocked !== undefined) return;
    const { draft, comparison } = drafted;
    if (draft !== undefined) start.mutate(draft, { onSuccess: ({ id }) => navigate(`/runs/${id}`) });
    if (comparison !== undefined)
      startAll.mutate(comparison, { onSuccess: ({ ids }) => navigate(`/compare/${ids.join(',')}`) });
  };
  const starting = start.isPending || startAll.isPending;
  const startError = start.error ?? startAll.error;

  return (
    <div className="stack new-run">
      <PageHead
        title="New run"
        actions={
          <>
            <Button onClick={() => file.current?.click()}>Import RUN.json…</Button>
            <input
              ref={file}
              type="file"
              hidden
              aria-label="RUN.json"
              accept=".json,application/json"
              onChange={(event) => {
                const chosen = event.target.files?.item(0);
                if (chosen) importFile(chosen);
                event.target.value = '';
              }}
            />
            <Button disabled={missing.length > 0} onClick={exportFile}>
              Export RUN.json
            </Button>
          </>
        }
      />
      {importError !== undefined && <ErrorNote what="RUN.json was not read or written" error={importError} />}
      {notes.length > 0 && (
        <div className="notice warn" role="status">
          {notes.map((note) => (
            <p key={note}>{note}</p>
          ))}
        </div>
      )}
      <ModelChoice
        form={form}
        models={models}
        onChoose={(id) => setForm((old) => ({ ...old, modelId: id }))}
      />
      <DataCard
        form={form}
        datasets={datasets}
        setForm={setForm}
        setSection={setSection}
        setError={setError}
      />
      <MethodCard form={form} plan={plan.data} planAll={planAll.data} setForm={setForm} setError={setError} />
      <TrainingCard form={form} setSection={setSection} setError={setError} />
      {form.compared === undefined ? (
        <ReviewCard plan={plan} ready={drafted.draft !== undefined} missing={missing}>
          {(ready) => <Plan plan={ready} />}
        </ReviewCard>
      ) : (
        <ReviewCard plan={planAll} ready={drafted.comparison !== undefined} missing={missing}>
          {(ready) => <ComparisonReview plan={ready} />}
        </ReviewCard>
      )}
      {startError !== null && <ErrorNote what="The run did not start" error={toErrorInfo(startError)} />}
      <form
        className="start-bar"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <label htmlFor="run-name">Name</label>
        <input
          id="run-name"
          className="input grow"
          maxLength={200}
          placeholder="untitled run"
          value={form.name}
          onChange={(event) => setForm((old) => ({ ...old, name: event.target.value }))}
        />
        <span
          id="start-blocked"
          className={blocked === undefined ? 'visually-hidden' : 'start-blocked'}
          role="status"
        >
          {blocked}
        </span>
        <Button
          type="submit"
          look="primary"
          aria-disabled={blocked !== undefined || starting}
          aria-describedby="start-blocked"
        >
          {starting ? 'Starting…' : 'Start'}
        </Button>
      </form>
    </div>
  );
}
