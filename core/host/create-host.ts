/** The host: the one object behind the desktop window, the browser page and the command line. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { explainIssues } from '#core/contract/explain-issues.ts';
import { type CallName, findCall, type HostHandlers } from '#core/contract/host-api.ts';
import { type Result, resultOf } from '#core/contract/result.ts';
import type { ProviderChoice, RunSpec } from '#core/contract/run-spec.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { openAppDb, rebuildRuns, type AppDb } from '#core/store/index.ts';
import { createComparisonHandlers } from './comparison-service.ts';
import { createDatasetService } from './dataset-service.ts';
import { createExportHandlers } from './export-service.ts';
import { createFileService } from './file-service.ts';
import { lockHome } from './home-lock.ts';
import type { HostContext } from './host-context.ts';
import { createModelService } from './model-service.ts';
import type { HostPorts } from './ports.ts';
import { createReportHandlers } from './report-service.ts';
import { createRunJobs } from './run-jobs.ts';
import { createRunLifecycle } from './run-lifecycle.ts';
import { createRunReaders } from './run-readers.ts';
import { describeRun } from './run-records.ts';
import { createRunService } from './run-service.ts';
import { createScoreHandlers } from './score-service.ts';
import { createSampleHandlers } from './sample-service.ts';

/** Calls by name, notices, and what the command line needs besides. */
export interface Host {
  /** Runs one call of the host API. Never rejects: what goes wrong is in the result. */
  call(name: string, input: unknown): Promise<Result<unknown>>;
  /** Calls `listener` for each notice until the returned function is called. */
  onPush(listener: (channel: string, payload: unknown) => void): () => void;
  /** Queues a run from a specification with absolute paths, in `runDir` or a new folder below `runs/`; returns its id. */
  startRun(spec: RunSpec, runDir?: string): string;
  /** Queues the run in the folder `runDir` again. */
  resumeRun(runDir: string, provider?: ProviderChoice): string;
  /** The run's directory. */
  runDir(id: string): string;
  /** Ends the run's worker at once; its last checkpoint is kept. */
  killRun(id: string): void;
  /** Resolves with the run's final state when its worker is gone. */
  runEnded(id: string): Promise<RunDetail>;
  /** The handle of a file or folder that the shell itself vouches for. */
  registerFile(path: string): Promise<{ handle: string; name: string }>;
  /** Runs save and end (detached ones go on), then the data folder is free for another host. */
  close(): Promise<void>;
}

/**
 * Opens the data folder `ports.home`.
 * @throws UserError `home/in-use`, and those of the store.
 */
export function createHost(ports: HostPorts): Host {
  for (const folder of ['', 'runs', 'cache', 'uploads']) {
    mkdirSync(path.join(ports.home, folder), { recursive: true });
  }
  const unlock = ports.role === 'exclusive' ? lockHome(ports.home) : () => undefined;
  let db: AppDb;
  try {
    db = openAppDb(path.join(ports.home, 'app.db'));
  } catch (error) {
    unlock();
    throw error;
  }
  const readers = createRunReaders();
  const listeners = new Set<(channel: string, payload: unknown) => void>();
  const context: HostContext = {
    ports,
    db,
    readers,
    notify: (channel, payload) => {
      for (const listener of listeners) listener(channel, payload);
    },
    rowOf: (id) => {
      const row = db.runs.get(id);
      if (row) return row;
      throw new UserError('run/unknown', `there is no run ${id}`, 'It may have been removed.');
    },
  };

  if (ports.role === 'exclusive') {
    for (const problem of rebuildRuns(db, path.join(ports.home, 'runs')).problems) ports.reportBug(problem);
  }
  const lifecycle = createRunLifecycle(context);
  const files = createFileService(context);
  const models = createModelService(context, files);
  const datasets = createDatasetService(context, files, models);
  const runs = createRunService(context, lifecycle);
  const jobs = createRunJobs(context);

  const handlers: HostHandlers = {
    'app.info': () => ({
      version: ports.version,
      shell: ports.shell,
      home: ports.home,
      networkRequests: ports.networkRequests(),
    }),
    'app.device': () => ports.device(),
    'app.settings': () => db.settings.get(),
    'app.updateSettings': (changes) => {
      const settings = { ...db.settings.get(), ...definedOnly(changes) };
      db.settings.set(settings);
      return settings;
    },
    'methods.list': () => ports.planner.methods(),
    ...files.handlers,
    ...models.handlers,
    ...datasets.handlers,
    ...runs.handlers,
    ...createScoreHandlers(context, files, datasets, jobs),
    ...createExportHandlers(context, files, jobs),
    'runs.remove': async (input) => {
      await jobs.stop(input.id);
      return runs.handlers['runs.remove'](input);
    },
    ...createReportHandlers(context),
    ...createComparisonHandlers(runs),
    ...createSampleHandlers(context, models, datasets, runs),
  };

  const perform = async (name: string, input: unknown): Promise<unknown> => {
    const entry = findCall(name);
    if (entry === undefined) {
      throw new UserError(
        'host/unknown-call',
        `the host has no call ${JSON.stringify(name)}`,
        'Use the same version on both sides.',
      );
    }
    const parsed = entry.input.safeParse(input);
    if (!parsed.success) {
      throw new UserError('host/bad-input', `${name}: ${explainIssues(parsed.error, entry.input)}`);
    }
    // `findCall` knows the name, and the schema belongs to it.
    const handler = handlers[name as CallName] as (input: unknown) => unknown;
    try {
      return await handler(parsed.data);
    } catch (error) {
      if (!(error instanceof UserError)) ports.reportBug(error);
      throw error;
    }
  };

  return {
    call: (name, input) => resultOf(() => perform(name, input)),
    onPush: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    startRun: (spec, runDir) => runs.start(spec, runDir),
    resumeRun: (runDir, provider) => {
      const row = runs.known(runDir);
      runs.resume(row.id, provider);
      return row.id;
    },
    runDir: (id) => context.rowOf(id).dir,
    killRun: (id) => void lifecycle.kill(id),
    runEnded: async (id) => {
      await lifecycle.settled(id);
      return describeRun(context.rowOf(id), readers, ports.now());
    },
    registerFile: (file) => files.register(file),
    close: async () => {
      await jobs.close();
      await lifecycle.close();
      listeners.clear();
      readers.close();
      db.close();
      unlock();
    },
  };
}

/** Leaves out the keys that hold undefined. */
function definedOnly<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
