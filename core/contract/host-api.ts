/**
 * The whole host API as one value. The Electron handlers, the preload bridge, the renderer's client, the WebSocket
 * server and its client, and the in-memory fake for component tests are all derived from it.
 */
import { z } from 'zod';
import { DatasetEntry, DatasetInspection, PreviewRow } from './dataset.ts';
import { DatasetId, FileHandle, ModelId, RunId } from './ids.ts';
import { MethodInfo, ExpertPreview, RunPlan } from './method.ts';
import { ComparisonTerms, MOST_COMPARED } from './method-comparison.ts';
import { ModelEntry } from './model.ts';
import {
  Comparison,
  RoutingQuery,
  RoutingSeries,
  RunDetail,
  RunSummary,
  Series,
  SeriesQuery,
} from './run.ts';
import { ExportDtype, ExportFormat, ExportState, FolderName, RefusedFormat } from './run-export.ts';
import { RunFinding, RunFindingsQuery } from './run-finding.ts';
import { ProviderChoice, RunSpec, SplitSeed } from './run-spec.ts';
import { DeviceInfo, Settings } from './settings.ts';
import { AskOptions, ScoreState } from './suite-score.ts';
import { UsageComparison } from './usage-difference.ts';

interface Call<I extends z.ZodType, O extends z.ZodType> {
  readonly kind: 'call';
  readonly input: I;
  readonly output: O;
}
interface Push<P extends z.ZodType> {
  readonly kind: 'push';
  readonly payload: P;
}

const call = <I extends z.ZodType, O extends z.ZodType>(input: I, output: O): Call<I, O> => ({
  kind: 'call',
  input,
  output,
});
const push = <P extends z.ZodType>(payload: P): Push<P> => ({ kind: 'push', payload });

const none = z
  .undefined()
  .or(z.null())
  .transform(() => undefined);
const runId = z.object({ id: RunId });
/** A run specification as a form holds it: model and data by id, the rest as in RUN.json. */
export const RunDraft = RunSpec.omit({ model: true, data: true }).extend({
  model: z.object({ id: ModelId }),
  data: RunSpec.shape.data.omit({ train: true, validation: true, general: true }).extend({
    train: z.array(DatasetId).min(1),
    validation: z.union([
      z.object({ fraction: z.number().min(0).max(0.5), seed: SplitSeed }),
      z.object({ ids: z.array(DatasetId).min(1) }),
    ]),
    general: z.array(DatasetId).min(1).optional(),
  }),
});
export type RunDraft = z.infer<typeof RunDraft>;

/** Every method with every seed and each of its learning rates, on equal terms: a draft without method and seed. */
export const ComparisonDraft = RunDraft.omit({ method: true })
  .extend({ train: RunDraft.shape.train.unwrap().omit({ seed: true }).prefault({}) })
  .extend(ComparisonTerms.shape);
export type ComparisonDraft = z.infer<typeof ComparisonDraft>;

/** What a comparison will need: one plan for each method, and all of it. */
export const ComparisonPlan = z.object({
  ok: z.boolean(),
  /** Of all methods, each with the name of its method. */
  problems: z.array(z.string()),
  runs: z.int(),
  /** `runs` of each, over its learning rates and all seeds; they need the same. */
  methods: z.array(z.object({ label: z.string(), runs: z.int(), plan: RunPlan })),
  /** Runs follow one another: the most that one of them needs. */
  memoryMB: z.object({ low: z.number(), high: z.number(), availableMB: z.number() }),
  /** All checkpoints that stay. */
  diskMB: z.object({ total: z.number(), freeMB: z.number() }),
  /** Of all runs together. */
  timeSeconds: z.object({ low: z.number(), high: z.number() }).optional(),
  pastErrors: RunPlan.shape.pastErrors,
});
export type ComparisonPlan = z.infer<typeof ComparisonPlan>;

/** `method name → schema`, grouped by subject. `call` is request and reply, `push` a notice from host to renderer. */
export const hostApi = {
  app: {
    info: call(
      none,
      z.object({
        version: z.string(),
        shell: z.enum(['electron', 'node']),
        home: z.string(),
        networkRequests: z.int(),
      }),
    ),
    device: call(none, DeviceInfo),
    settings: call(none, Settings),
    updateSettings: call(Settings.partial(), Settings),
  },
  files: {
    /** Opens the shell's own dialog; null when cancelled. Unsupported by the browser host, which answers with code `shell/no-dialog`. */
    choose: call(
      z.object({ kind: z.enum(['folder', 'data', 'run-spec']) }),
      z.object({ handle: FileHandle, name: z.string() }).nullable(),
    ),
    /** Registers a path typed or dropped by the user. */
    register: call(
      z.object({ path: z.string().min(1).max(4096) }),
      z.object({ handle: FileHandle, name: z.string() }),
    ),
  },
  models: {
    list: call(none, z.array(ModelEntry)),
    add: call(z.object({ handle: FileHandle }), ModelEntry),
    verify: call(z.object({ id: ModelId }), ModelEntry),
    remove: call(z.object({ id: ModelId }), z.null()),
    changed: push(z.object({ id: ModelId })),
  },
  datasets: {
    list: call(none, z.array(DatasetEntry)),
    import: call(z.object({ handle: FileHandle }), DatasetEntry),
    map: call(z.object({ id: DatasetId, mapping: z.record(z.string(), z.string()) }), DatasetEntry),
    inspect: call(
      z.object({
        id: DatasetId,
        modelId: ModelId,
        maxLength: z.int().positive(),
        lossOn: z.enum(['completion', 'all']),
      }),
      DatasetInspection,
    ),
    /** Rows that an inspection of the data set has read so far. */
    inspecting: push(z.object({ id: DatasetId, rows: z.int() })),
    preview: call(
      z.object({
        id: DatasetId,
        modelId: ModelId,
        maxLength: z.int().positive(),
        lossOn: z.enum(['completion', 'all']),
        fromRow: z.int().positive(),
        rows: z.int().positive().max(50),
      }),
      z.array(PreviewRow),
    ),
    /** First raw rows, values as JSON text, for mapping by hand. */
    sample: call(
      z.object({ id: DatasetId, rows: z.int().positive().max(50) }),
      z.array(z.record(z.string(), z.string())),
    ),
    remove: call(z.object({ id: DatasetId }), z.null()),
    changed: push(z.object({ id: DatasetId })),
  },
  methods: {
    list: call(none, z.array(MethodInfo)),
  },
  runs: {
    list: call(none, z.array(RunSummary)),
    get: call(runId, RunDetail),
    plan: call(RunDraft, RunPlan),
    /** Routes a sample of the data through the model first, in a process of its own: takes seconds to minutes. */
    previewExperts: call(RunDraft, ExpertPreview),
    start: call(RunDraft, runId),
    pause: call(runId, z.null()),
    /** Goes on from the last checkpoint; with `provider`, from now on computed there. */
    resume: call(runId.extend({ provider: ProviderChoice.optional() }), z.null()),
    stop: call(runId.extend({ keep: z.boolean().default(true) }), z.null()),
    checkpoint: call(runId, z.null()),
    rename: call(runId.extend({ name: z.string().min(1).max(200) }), z.null()),
    remove: call(runId, z.null()),
    series: call(SeriesQuery, Series),
    routing: call(RoutingQuery, RoutingSeries),
    /** What deserves attention, the most pressing first. */
    findings: call(RunFindingsQuery, z.array(RunFinding)),
    /** The run's RUN.json as text. */
    exportSpec: call(runId, z.object({ json: z.string() })),
    /** State, name or existence changed. */
    changed: push(z.object({ id: RunId })),
    /** New committed facts: the high-water marks (WP5). */
    advanced: push(z.object({ id: RunId, lastStep: z.int(), lastEvent: z.int() })),
  },
  /** Suites of questions that an ended run is asked. */
  scores: {
    get: call(runId, ScoreState),
    /** Asks the run the questions of a file or a data set, or the rows that it held out; what comes of it is told by `changed`. */
    start: call(
      runId.extend({
        suite: z.union([
          z.object({ heldOut: z.literal(true) }),
          z.object({ dataset: DatasetId }),
          z.object({ handle: FileHandle }),
        ]),
        options: AskOptions.prefault({}),
      }),
      z.null(),
    ),
    /** The score of what was answered is kept. */
    stop: call(runId, z.null()),
    changed: push(runId),
  },
  /** Trained models of ended runs, written for use elsewhere. */
  exports: {
    get: call(runId, ExportState),
    /** What the run cannot be exported as. */
    refused: call(runId, z.array(RefusedFormat)),
    /** Writes a new folder `name` in `folder`; what comes of it is told by `changed`. */
    start: call(
      runId.extend({ format: ExportFormat, dtype: ExportDtype, folder: FileHandle, name: FolderName }),
      z.null(),
    ),
    /** Nothing is left of an export that is stopped. */
    stop: call(runId, z.null()),
    changed: push(runId),
  },
  compare: {
    get: call(z.object({ ids: z.array(RunId).min(1).max(MOST_COMPARED) }), Comparison),
    plan: call(ComparisonDraft, ComparisonPlan),
    /** Queues a run for each method, learning rate and seed. */
    start: call(ComparisonDraft, z.object({ ids: z.array(RunId) })),
    /** Expert usage at the end of `other` minus that of `base`. */
    usage: call(z.object({ base: RunId, other: RunId }), UsageComparison),
  },
  reports: {
    build: call(
      z.object({
        ids: z.array(RunId).min(1).max(MOST_COMPARED),
        format: z.enum(['html', 'markdown', 'json']),
      }),
      z.object({ fileName: z.string(), text: z.string() }),
    ),
  },
  sample: {
    /** Registers the bundled model and data set and returns their ids. */
    prepare: call(none, z.object({ modelId: ModelId, datasetId: DatasetId })),
    /** Queues the demonstration: full fine-tuning and expert condensers on equal terms. */
    start: call(none, z.object({ runs: z.array(RunId) })),
  },
} as const;

type Api = typeof hostApi;

/** `runs.start` and its like. */
export type CallName = {
  [S in keyof Api]: {
    [M in Extract<keyof Api[S], string>]: Api[S][M] extends { kind: 'call' } ? `${S}.${M}` : never;
  }[Extract<keyof Api[S], string>];
}[keyof Api];

/** `runs.changed` and its like. */
export type PushName = {
  [S in keyof Api]: {
    [M in Extract<keyof Api[S], string>]: Api[S][M] extends { kind: 'push' } ? `${S}.${M}` : never;
  }[Extract<keyof Api[S], string>];
}[keyof Api];

type Entry<N extends string> = N extends `${infer S}.${infer M}`
  ? S extends keyof Api
    ? M extends keyof Api[S]
      ? Api[S][M]
      : never
    : never
  : never;

/** What a caller passes to `N`. */
export type CallInput<N extends CallName> = Entry<N> extends Call<infer I, z.ZodType> ? z.input<I> : never;
/** What the implementation of `N` receives: the input with its defaults filled in. */
export type CallParsedInput<N extends CallName> =
  Entry<N> extends Call<infer I, z.ZodType> ? z.output<I> : never;
/** What `N` returns. */
export type CallOutput<N extends CallName> = Entry<N> extends Call<z.ZodType, infer O> ? z.output<O> : never;
/** What push `N` carries. */
export type PushPayload<N extends PushName> = Entry<N> extends Push<infer P> ? z.output<P> : never;

/** One function for each call. */
export type HostHandlers = {
  readonly [N in CallName]: (input: CallParsedInput<N>) => Promise<CallOutput<N>> | CallOutput<N>;
};

/** The schemas of call `name`, or undefined when the API has no such call. Looks at own properties only. */
export function findCall(name: string): Call<z.ZodType, z.ZodType> | undefined {
  const [subject, method, ...rest] = name.split('.');
  if (subject === undefined || method === undefined || rest.length > 0) return undefined;
  const methods: unknown = Object.hasOwn(hostApi, subject) ? hostApi[subject as keyof Api] : undefined;
  if (typeof methods !== 'object' || methods === null || !Object.hasOwn(methods, method)) return undefined;
  const entry = (methods as Record<string, Call<z.ZodType, z.ZodType> | Push<z.ZodType>>)[method];
  return entry?.kind === 'call' ? entry : undefined;
}
