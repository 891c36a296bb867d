/** The `runs` part of the host API. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { UserError } from '#core/contract/errors.ts';
import type { HostHandlers, RunDraft } from '#core/contract/host-api.ts';
import type { RunPlan } from '#core/contract/method.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import { packRouting } from '#core/contract/metrics.ts';
import { isEnded } from '#core/contract/run-state.ts';
import type { ProviderChoice, RunSpec } from '#core/contract/run-spec.ts';
import {
  isRunLocked,
  readRunRow,
  readRunSpec,
  runFiles,
  type RunRow,
  writeRunSpec,
} from '#core/store/index.ts';
import type { HostContext } from './host-context.ts';
import { pastErrorsOf } from './past-estimates.ts';
import type { RunLifecycle } from './run-lifecycle.ts';
import { describeRun, summarize } from './run-records.ts';

/** Findings are served with the reports, which read the same. */
type RunHandlers = Pick<
  HostHandlers,
  Exclude<Extract<keyof HostHandlers, `runs.${string}`>, 'runs.findings'>
>;

/** The service, and what other services need of it. */
export interface RunService {
  readonly handlers: RunHandlers;
  /**
   * Creates and queues a run.
   * @param spec paths absolute.
   * @param runDir where it writes; a new folder below `runs/` when absent.
   */
  start(spec: RunSpec, runDir?: string): string;
  /** The specification that a draft stands for. @throws UserError `model/unknown`, `dataset/unknown`. */
  specOf(draft: RunDraft): RunSpec;
  /** What the draft's run will need, and how far such estimates were off before. */
  plan(draft: RunDraft): Promise<RunPlan>;
  /** Queues an ended run again, from its last checkpoint where it has one; with `provider`, to compute there. */
  resume(id: string, provider?: ProviderChoice): void;
  /** The row of the run in `runDir`, made from its files when the list does not have it. */
  known(runDir: string): RunRow;
}

/** Serves the runs of the data folder. */
export function createRunService(context: HostContext, lifecycle: RunLifecycle): RunService {
  const { db, notify, ports, readers, rowOf } = context;
  const newRunId = createRunIds(ports.now);

  const start = (spec: RunSpec, runDir?: string): string => {
    const id = newRunId();
    const dir = path.resolve(runDir ?? path.join(ports.home, 'runs', id));
    // The files decide: a listed run may have been deleted by hand, and a copied one is not listed.
    if (existsSync(runFiles(dir).spec)) {
      throw new UserError(
        'run/exists',
        `${dir}: a run is there already`,
        'Choose another folder, or resume that run.',
      );
    }
    const deleted = db.runs.byDir(dir);
    if (deleted) {
      readers.forget(dir);
      db.runs.remove(deleted.id);
    }
    mkdirSync(dir, { recursive: true });
    const withSettings = applySettings(spec, context);
    writeRunSpec(dir, withSettings);
    db.runs.put({
      id,
      name: spec.name,
      state: 'draft',
      dir,
      createdMs: ports.now(),
      method: methodLabel(spec.method),
      modelName: path.basename(spec.model.path),
    });
    lifecycle.enqueue(id);
    return id;
  };

  const resume = (id: string, provider?: ProviderChoice): void => {
    const row = rowOf(id);
    if (isRunLocked(runFiles(row.dir).db)) {
      throw new UserError(
        'run/in-use',
        `${row.dir}: another process is writing this run`,
        'Wait for it to end.',
      );
    }
    lifecycle.endIfLost(id);
    const spec = readRunSpec(row.dir);
    if (provider !== undefined && provider !== spec.engine.provider)
      writeRunSpec(row.dir, { ...spec, engine: { ...spec.engine, provider } });
    lifecycle.enqueue(id);
  };

  const specOf = (draft: RunDraft): RunSpec => specOfDraft(draft, context);
  const plan = async (draft: RunDraft): Promise<RunPlan> => ({
    ...(await ports.planner.plan(specOf(draft))),
    pastErrors: pastErrorsOf(db, readers),
  });

  const handlers: RunHandlers = {
    'runs.list': () =>
      db.runs
        .list()
        .toReversed()
        .map((row) => summarize(row, readers)),
    'runs.get': ({ id }) => describeRun(rowOf(id), readers, ports.now()),
    'runs.plan': plan,
    'runs.previewExperts': (draft) =>
      ports.planner.previewExperts(specOf(draft), path.join(ports.home, 'cache')),
    'runs.start': (draft) => ({ id: start(specOf(draft)) }),
    'runs.pause': async ({ id }) => {
      await lifecycle.command(id, 'pause');
      return null;
    },
    'runs.resume': async ({ id, provider }) => {
      if (rowOf(id).state === 'paused') await lifecycle.command(id, 'resume');
      else resume(id, provider);
      return null;
    },
    'runs.stop': async ({ id, keep }) => {
      rowOf(id);
      if (!lifecycle.dequeue(id)) await lifecycle.command(id, keep ? 'stop' : 'discard');
      return null;
    },
    'runs.checkpoint': async ({ id }) => {
      await lifecycle.command(id, 'checkpoint');
      return null;
    },
    'runs.rename': ({ id, name }) => {
      const row = rowOf(id);
      db.runs.put({ ...row, name });
      writeRunSpec(row.dir, { ...readRunSpec(row.dir), name });
      notify('runs.changed', { id });
      return null;
    },
    'runs.remove': ({ id }) => {
      const row = rowOf(id);
      lifecycle.dequeue(id);
      if (!isEnded(rowOf(id).state)) {
        throw new UserError('run/wrong-state', `cannot remove a run that is ${row.state}`, 'Stop it first.');
      }
      readers.forget(row.dir);
      // A folder the user chose may hold more than the run; only our own are deleted.
      const ours = path.dirname(row.dir) === path.join(path.resolve(ports.home), 'runs');
      if (ours) rmSync(row.dir, { recursive: true, force: true });
      db.runs.remove(id);
      notify('runs.changed', { id });
      return null;
    },
    'runs.series': ({ id, ...query }) =>
      readers.read(rowOf(id).dir, { steps: [], evaluations: [], events: [] }, (reader) =>
        reader.series(query),
      ),
    'runs.routing': ({ id, fromStep, toStep, limit }) => ({
      records: readers.read(rowOf(id).dir, [], (reader) =>
        reader.routing({ fromStep, limit, ...(toStep !== undefined && { toStep }) }).map(packRouting),
      ),
    }),
    'runs.exportSpec': ({ id }) => ({ json: `${JSON.stringify(readRunSpec(rowOf(id).dir), null, 2)}\n` }),
  };

  const known = (runDir: string): RunRow => {
    const dir = path.resolve(runDir);
    const listed = db.runs.byDir(dir);
    if (listed) return listed;
    const found = readRunRow(dir);
    const row = db.runs.get(found.id) ? { ...found, id: newRunId() } : found;
    db.runs.put(row);
    return row;
  };

  return { handlers, start, specOf, plan, resume, known };
}

/** The settings stand where the specification leaves a choice. */
function applySettings(spec: RunSpec, { db }: HostContext): RunSpec {
  const settings = db.settings.get();
  const { provider, threads, memoryBudgetMB, deviceMemoryMB } = spec.engine;
  return {
    ...spec,
    engine: {
      ...spec.engine,
      provider: provider === 'auto' ? settings.provider : provider,
      threads: threads === 'auto' ? settings.threads : threads,
      memoryBudgetMB: memoryBudgetMB ?? settings.memoryBudgetMB,
      deviceMemoryMB: deviceMemoryMB ?? settings.deviceMemoryMB,
    },
  };
}

/** The specification a draft stands for: ids become paths and mappings. */
function specOfDraft(draft: RunDraft, { db }: HostContext): RunSpec {
  const model = db.models.get(draft.model.id);
  if (!model)
    throw new UserError('model/unknown', 'the chosen model is no longer in the list', 'Choose another.');
  const file = (id: string) => {
    const entry = db.datasets.get(id);
    if (!entry) {
      throw new UserError('dataset/unknown', 'a chosen data set is no longer in the list', 'Choose another.');
    }
    return { path: entry.path, mapping: entry.mapping };
  };
  const { train, validation, general, ...data } = draft.data;
  return {
    ...draft,
    model: { path: model.path },
    data: {
      ...data,
      train: train.map(file),
      validation: 'ids' in validation ? { files: validation.ids.map(file) } : validation,
      ...(general && { general: general.map(file) }),
    },
    train:
      draft.train.steps === undefined ? { ...draft.train, epochs: draft.train.epochs ?? 1 } : draft.train,
  };
}

/** Ids that sort by the time they were made, also within a millisecond: `run_20261124-191530-042-0b93f9`. */
function createRunIds(now: () => number): () => string {
  let lastMs = 0;
  return () => {
    lastMs = Math.max(now(), lastMs + 1);
    const time = new Date(lastMs).toISOString().replaceAll(/[-:Z]/g, '').replaceAll(/[T.]/g, '-');
    return `run_${time}-${randomBytes(3).toString('hex')}`;
  };
}
