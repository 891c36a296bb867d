/**
 * Moves runs through their states. Every change of a run's state goes through `apply`, and so through the transition
 * function of the contract; the host is the only one that stores it.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import { canTransition, eventOfExit, isEnded, type RunEvent, transition } from '#core/contract/run-state.ts';
import { readRunSpec, runFiles, type RunRow } from '#core/store/index.ts';
import { adoptRun, endOfLostRun } from './adopt-run.ts';
import type { RunEnd } from './classify-exit.ts';
import type { HostContext } from './host-context.ts';
import { isRunAlive } from './liveness.ts';
import { createRunQueue } from './run-queue.ts';
import { type RunCommand, type SupervisedRun, superviseRun } from './worker-supervisor.ts';

/** How long `close` waits for workers to save before it kills them. */
const CLOSE_LIMIT_MS = 20_000;
/** How often runs of other processes are looked for. */
const WATCH_MS = 2000;
/** How long a run of another process may be without worker: one that just starts has none yet. */
const MISSING_LIMIT_MS = 10_000;
/** A process that started a run and saw it end stores the end itself; wait that long for it. */
const OWNER_GRACE_MS = 2000;

/** Starts, commands and follows runs. */
export interface RunLifecycle {
  /** Stores the end of a run whose worker is gone, where the process that started it was killed before it could. */
  endIfLost(id: string): void;
  /** Queues a run that is new or ended. */
  enqueue(id: string): void;
  /** Hands `command` to the run's worker. */
  command(id: string, command: RunCommand): Promise<void>;
  /** Stops a run that still waits in the queue; false when it does not. */
  dequeue(id: string): boolean;
  /** Ends the run's worker at once; false when it has none. */
  kill(id: string): boolean;
  /** Resolves when the run has no worker any more. */
  settled(id: string): Promise<void>;
  /** Saves or leaves alone what runs, and starts nothing more. */
  close(): Promise<void>;
}

/** Takes over the runs in the database: queued ones are queued again, active ones adopted or marked interrupted. */
export function createRunLifecycle(context: HostContext): RunLifecycle {
  const { db, notify, ports, readers, rowOf } = context;
  const live = new Map<string, { readonly run: SupervisedRun; readonly settled: Promise<void> }>();
  let closing = false;

  const apply = (id: string, event: RunEvent, end?: RunEnd): void => {
    const { name, state, dir, createdMs, method, modelName } = rowOf(id);
    // What is left out is what the former state said of its end.
    const kept = { id, name, dir, createdMs, method, modelName };
    db.runs.put({ ...kept, ...(end && endColumns(end)), state: transition(state, event) });
    notify('runs.changed', { id });
  };

  /** Applies an end, whatever state the host last knew: messages on the way may have been lost. */
  const applyEnd = (id: string, end: RunEnd): void => {
    const event = closing && end.exit === 'stopped' ? 'interrupt' : eventOfExit(end.exit);
    const { state } = rowOf(id);
    if (isEnded(state)) return;
    if (!canTransition(state, event)) apply(id, state === 'paused' ? 'resume' : 'start');
    const reason = 'Condenser was closed; the run saved a checkpoint first.';
    apply(id, event, closing && end.exit === 'stopped' ? { ...end, reason } : end);
  };

  const follow = (
    id: string,
    run: SupervisedRun,
    atEnd: (end: RunEnd) => Promise<void> | void,
  ): Promise<void> => {
    const settled = run.ended.then(async (end) => {
      await atEnd(end);
      live.delete(id);
    });
    live.set(id, { run, settled });
    return settled;
  };

  const startRun = async (id: string): Promise<void> => {
    try {
      const row = rowOf(id);
      apply(id, 'prepare');
      const spec = readRunSpec(row.dir);
      const run = superviseRun(
        ports.spawnWorker,
        {
          runId: id,
          runDir: row.dir,
          spec,
          cacheDir: path.join(ports.home, 'cache'),
          resume: hasCheckpoint(row.dir),
          detached: ports.detachWorkers,
        },
        {
          started: () => apply(id, 'start'),
          state: (state) => {
            const event = state === 'paused' ? 'pause' : 'resume';
            if (canTransition(rowOf(id).state, event)) apply(id, event);
          },
          advanced: (lastStep, lastEvent) => notify('runs.advanced', { id, lastStep, lastEvent }),
        },
      );
      await follow(id, run, (end) => applyEnd(id, end));
    } catch (error) {
      // Nothing of this run may keep the next one from starting.
      if (!(error instanceof UserError)) ports.reportBug(error);
      const info = toErrorInfo(error);
      if (db.runs.get(id)) applyEnd(id, { exit: 'failed', error: info, reason: info.message });
    }
  };

  const queue = createRunQueue(startRun);

  const adopt = (row: RunRow): void => {
    const run = adoptRun(row.dir, readers, ports.now, (lastStep, lastEvent) =>
      notify('runs.advanced', { id: row.id, lastStep, lastEvent }),
    );
    const settled = follow(row.id, run, async (end) => {
      await new Promise((resolve) => {
        setTimeout(resolve, OWNER_GRACE_MS).unref();
      });
      if (!closing && db.runs.get(row.id)) applyEnd(row.id, end);
    });
    queue.occupy(settled);
  };

  const recover = (row: RunRow): void => {
    if (isRunAlive(row.dir, ports.now())) {
      adopt(row);
      return;
    }
    const end = endOfLostRun(row.dir, readers);
    const reason = 'Condenser was closed while the run went on; it saved a checkpoint first.';
    applyEnd(row.id, end.exit === 'stopped' ? { ...end, exit: 'lost', reason } : end);
  };

  const known = new Map<string, string>();
  const missingSince = new Map<string, number>();
  /** Adopts a run of another process; marks it when nobody has had it for a while (a killed terminal). */
  const meet = (row: RunRow): void => {
    if (isRunAlive(row.dir, ports.now())) {
      missingSince.delete(row.id);
      adopt(row);
      return;
    }
    const since = missingSince.get(row.id) ?? ports.now();
    missingSince.set(row.id, since);
    if (ports.now() - since < MISSING_LIMIT_MS) return;
    missingSince.delete(row.id);
    recover(row);
  };
  /** Notices what other processes did to the list of runs: a run on the command line, a new name, an end. */
  const watch = (): void => {
    const rows = db.runs.list();
    const ids = new Set(rows.map((row) => row.id));
    for (const row of rows) {
      const shape = `${row.state} ${row.name}`;
      if (known.get(row.id) !== shape) notify('runs.changed', { id: row.id });
      known.set(row.id, shape);
      if (isActive(row) && !live.has(row.id)) meet(row);
    }
    for (const id of known.keys()) {
      if (ids.has(id)) continue;
      known.delete(id);
      notify('runs.changed', { id });
    }
  };

  let watchTimer: NodeJS.Timeout | undefined;
  if (ports.role === 'exclusive') {
    for (const row of db.runs.list()) {
      if (row.state === 'queued') queue.add(row.id);
      else if (!isEnded(row.state) && row.state !== 'draft') recover(row);
    }
    watchTimer = setInterval(watch, WATCH_MS);
    watchTimer.unref();
  }

  return {
    endIfLost: (id) => {
      const row = rowOf(id);
      if (isActive(row) && !live.has(id) && !isRunAlive(row.dir, ports.now())) recover(row);
    },
    enqueue: (id) => {
      apply(id, 'enqueue');
      queue.add(id);
    },
    command: async (id, command) => {
      const { state } = rowOf(id);
      const item = live.get(id);
      if (!item || state === 'queued' || isEnded(state)) {
        throw new UserError(
          'run/wrong-state',
          `cannot ${command} a run that is ${state}`,
          'Resume it first.',
        );
      }
      await item.run.command(command);
    },
    dequeue: (id) => {
      if (!queue.remove(id)) return false;
      apply(id, 'stop');
      return true;
    },
    kill: (id) => {
      live.get(id)?.run.kill('on-request');
      return live.has(id);
    },
    settled: async (id) => live.get(id)?.settled,
    close: async () => {
      closing = true;
      clearInterval(watchTimer);
      queue.close();
      await Promise.all(
        [...live.values()].map(({ run, settled }) => leave(run, settled, ports.detachWorkers)),
      );
    },
  };
}

/** True in states in which a worker belongs to the run. */
const isActive = ({ state }: RunRow): boolean =>
  state === 'preparing' || state === 'running' || state === 'paused';

/** Asks a run to save and end, and insists when it does not; a detached one is left alone. */
async function leave(run: SupervisedRun, settled: Promise<void>, detached: boolean): Promise<void> {
  if (detached || run.foreign) {
    run.release();
    return;
  }
  const timer = setTimeout(() => run.kill('on-close'), CLOSE_LIMIT_MS);
  void run.command('stop');
  await settled;
  clearTimeout(timer);
}

function endColumns(end: RunEnd): Pick<RunRow, 'exit' | 'error' | 'reason'> {
  return {
    exit: end.exit,
    ...(end.error && { error: end.error }),
    ...(end.reason !== undefined && { reason: end.reason }),
  };
}

/** True where the run has something to go on from; whether it is whole is for the worker to check. */
function hasCheckpoint(runDir: string): boolean {
  const { checkpoints } = runFiles(runDir);
  return existsSync(checkpoints) && readdirSync(checkpoints).some((name) => !name.endsWith('.partial'));
}
