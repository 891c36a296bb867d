/** The state of the form, and its two other forms: the draft that the host takes, and RUN.json. */
import { z } from 'zod';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import { invariant, UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';
import { ComparisonDraft, RunDraft } from '#core/contract/host-api.ts';
import { ComparisonTerms, isComparison, parseComparison } from '#core/contract/method-comparison.ts';
import { methodsIn, type NamedMethod, togetherAs } from '#core/contract/methods-together.ts';
import type { ModelEntry } from '#core/contract/model.ts';
import { parseRunSpec, RunSpec } from '#core/contract/run-spec.ts';

type Values = Readonly<Record<string, unknown>>;

/** Parts of a run specification whose fields are generated from its schema. */
export type Section = 'data' | 'train' | 'optimizer' | 'evaluate' | 'checkpoint' | 'engine';

/** Changes one section of the form. */
export type SetSection = (section: Section, values: Readonly<Record<string, unknown>>) => void;
/** Notes that a field's text is wrong, or right again. */
export type SetError = (section: Section | 'method', key: string, error: string | undefined) => void;

/** One of the methods that are compared. */
export interface ComparedMethod {
  /** Tells it apart while others come and go. */
  readonly key: number;
  /** At work together; one as a rule. */
  readonly parts: readonly NamedMethod[];
  readonly label?: string | undefined;
  readonly learningRates?: readonly unknown[] | undefined;
}

/** What a comparison is made of. */
export interface Compared {
  readonly methods: readonly ComparedMethod[];
  readonly seeds: readonly unknown[];
}

/** The form. Sections hold only what was given; the rest has its default. */
export interface FormState {
  readonly name: string;
  readonly modelId?: string;
  readonly trainIds: readonly string[];
  readonly validation: { readonly fraction: number } | { readonly ids: readonly string[] };
  /** Data that forgetting is measured on; empty: it is not. */
  readonly generalIds: readonly string[];
  /** Methods at work together, with their given options: none before one is chosen, then one as a rule. */
  readonly parts: readonly NamedMethod[];
  /** In place of `parts`: methods to compare on equal terms, each with its own options, and the seeds of each. */
  readonly compared?: Compared | undefined;
  readonly sections: Readonly<Record<Section, Values>>;
}

/** A form in which nothing was chosen yet. */
export const emptyForm: FormState = {
  name: '',
  trainIds: [],
  validation: { fraction: 0.02 },
  generalIds: [],
  parts: [],
  sections: { data: {}, train: {}, optimizer: {}, evaluate: {}, checkpoint: {}, engine: {} },
};

/** JSON Schema of RUN.json, from which the sections' fields are generated. */
export const runSpecSchema = z.toJSONSchema(RunSpec, { io: 'input' });

/** What must be chosen before a run can start, as it completes "Start needs …". */
export function missingParts(form: FormState): readonly string[] {
  return [
    form.modelId === undefined && 'a model',
    form.trainIds.length === 0 && 'training data',
    'ids' in form.validation && form.validation.ids.length === 0 && 'validation data',
    form.compared === undefined && form.parts.length === 0 && 'a method',
    form.compared?.methods.length === 0 && 'methods to compare',
    form.compared?.seeds.length === 0 && 'a seed',
  ].filter((part) => part !== false);
}

function sections(form: FormState) {
  const { data, train, optimizer, evaluate, checkpoint, engine } = form.sections;
  const budget = train['steps'] === undefined && train['epochs'] === undefined ? { epochs: 1 } : {};
  return { data, train: { ...train, ...budget, optimizer }, evaluate, checkpoint, engine };
}

/** The data of a draft. */
function dataOf(form: FormState, options: Values): Values {
  const { trainIds: train, validation, generalIds } = form;
  return { ...options, train, validation, ...(generalIds.length > 0 && { general: generalIds }) };
}

/**
 * The draft for the host.
 * @throws UserError `run-draft/invalid` naming what is missing or wrong.
 */
export function toDraft(form: FormState): RunDraft {
  const missing = missingParts(form);
  if (missing.length > 0) throw new UserError('run-draft/incomplete', `the run needs ${missing.join(', ')}`);
  const { data, ...rest } = sections(form);
  const parsed = RunDraft.safeParse({
    ...rest,
    name: form.name.trim() === '' ? undefined : form.name.trim(),
    model: { id: form.modelId },
    data: dataOf(form, data),
    method: togetherAs(form.parts),
  });
  if (!parsed.success) throw new UserError('run-draft/invalid', explainIssues(parsed.error, RunDraft));
  return parsed.data;
}

/**
 * The comparison for the host, of a form with `compared`.
 * @throws UserError as `toDraft`.
 */
export function toComparison(form: FormState): ComparisonDraft {
  const missing = missingParts(form);
  if (missing.length > 0) throw new UserError('run-draft/incomplete', `the run needs ${missing.join(', ')}`);
  const { data, train, evaluate, checkpoint, engine } = sections(form);
  const parsed = ComparisonDraft.safeParse({
    name: form.name.trim() === '' ? 'comparison' : form.name.trim(),
    model: { id: form.modelId },
    data: dataOf(form, data),
    seeds: form.compared?.seeds,
    methods: form.compared?.methods.map(({ parts, label, learningRates }) => ({
      ...togetherAs(parts),
      label,
      learningRates,
    })),
    // The seeds stand beside the methods.
    train: Object.fromEntries(Object.entries(train).filter(([key]) => key !== 'seed')),
    evaluate,
    checkpoint,
    engine,
  });
  if (!parsed.success) throw new UserError('run-draft/invalid', explainIssues(parsed.error, ComparisonDraft));
  return parsed.data;
}

/**
 * RUN.json of the form (a comparison: COMPARISON.json), for the command line.
 * @throws UserError as `toDraft`, and where the model or a data set is not in the lists any more.
 */
export function toRunJson(
  form: FormState,
  models: readonly ModelEntry[],
  datasets: readonly DatasetEntry[],
): string {
  const draft = form.compared === undefined ? toDraft(form) : toComparison(form);
  const file = (id: string) => {
    const entry = datasets.find((set) => set.id === id);
    if (entry === undefined)
      throw new UserError('run-draft/data', `the data set ${id} is not in the list any more`);
    return { path: entry.path, mapping: entry.mapping };
  };
  const model = models.find((entry) => entry.id === draft.model.id);
  if (model === undefined)
    throw new UserError('run-draft/model', 'the chosen model is not in the list any more');
  const { validation, general } = draft.data;
  const spec = {
    ...draft,
    model: { path: model.path },
    data: {
      ...draft.data,
      train: draft.data.train.map(file),
      validation: 'ids' in validation ? { files: validation.ids.map(file) } : validation,
      ...(general && { general: general.map(file) }),
    },
  };
  return `${JSON.stringify(spec, null, 2)}\n`;
}

const lastPart = (path: string) => path.split(/[\\/]/).findLast((part) => part !== '') ?? path;

/** The entry at `path`; a relative path is matched by its last part when only one entry has it. */
function atPath<T extends { readonly path: string }>(entries: readonly T[], path: string): T | undefined {
  const exact = entries.find((entry) => entry.path === path);
  if (exact !== undefined) return exact;
  const alike = entries.filter((entry) => lastPart(entry.path) === lastPart(path));
  return alike.length === 1 ? alike[0] : undefined;
}

/** The run in a document, or what all runs of a comparison share and the methods and seeds. */
function specIn(document: unknown, source: string): readonly [RunSpec, Compared | undefined] {
  if (!isComparison(document)) return [parseRunSpec(document, source), undefined];
  const [first] = parseComparison(document, source);
  const { methods, seeds } = ComparisonTerms.parse(document);
  invariant(first !== undefined, 'a comparison has a run');
  // What the runs do not share: the name, and the learning rate of methods that have none of their own.
  const { name, train } = z
    .looseObject({ name: z.string().default(''), train: RunSpec.shape.train })
    .parse(document);
  return [
    { ...first, name, train },
    {
      methods: methods.map(({ name: method, options, ...choice }, key) => ({
        key,
        parts: methodsIn({ name: method, options }),
        ...choice,
      })),
      seeds,
    },
  ];
}

/**
 * Fills the form from the text of a RUN.json.
 * @returns the form, and a sentence for each file that is not in the lists.
 * @throws UserError `run-spec/invalid` naming each wrong field.
 */
export function fromRunJson(
  text: string,
  source: string,
  models: readonly ModelEntry[],
  datasets: readonly DatasetEntry[],
): { readonly form: FormState; readonly notes: readonly string[] } {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UserError('run-spec/not-json', `${source} is not JSON: ${why}`, 'Choose a RUN.json file.', {
      cause: error,
    });
  }
  const [spec, compared] = specIn(document, source);
  const notes: string[] = [];
  const model = atPath(models, spec.model.path);
  if (model === undefined)
    notes.push(`The model ${spec.model.path} is not in the list: add its folder under Models.`);
  const ids = (files: readonly { readonly path: string }[]) =>
    files.flatMap((file) => {
      const entry = atPath(datasets, file.path);
      if (entry === undefined)
        notes.push(`The data file ${file.path} is not in the list: import it under Data.`);
      return entry === undefined ? [] : [entry.id];
    });
  const { train, validation, general = [], ...data } = spec.data;
  const { optimizer, ...training } = spec.train;
  return {
    form: {
      name: spec.name,
      ...(model !== undefined && { modelId: model.id }),
      trainIds: ids(train),
      validation: 'files' in validation ? { ids: ids(validation.files) } : validation,
      generalIds: ids(general),
      ...(compared === undefined ? { parts: methodsIn(spec.method) } : { parts: [], compared }),
      sections: {
        data,
        train: training,
        optimizer,
        evaluate: spec.evaluate,
        checkpoint: spec.checkpoint,
        engine: spec.engine,
      },
    },
    notes,
  };
}
