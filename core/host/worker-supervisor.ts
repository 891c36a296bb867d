/** Starts a training process, speaks the worker protocol with it and says how it ended. */
import { UserError } from '#core/contract/errors.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { type HostToWorker, PROTOCOL_VERSION, WorkerToHost } from '#core/contract/worker-protocol.ts';
import { runFiles } from '#core/store/index.ts';
import { classifyExit, type RunEnd, type WireError } from './classify-exit.ts';
import { countOomKills } from './oom-kills.ts';
import type { SpawnWorker } from './ports.ts';

/** How long a new process may take to say `ready`. */
const READY_LIMIT_MS = 60_000;

/** The `start` message without its type. */
export type RunStart = Omit<Extract<HostToWorker, { type: 'start' }>, 'type'>;

/** What a run's worker reports while it lives. */
export interface RunListener {
  started(facts: RunFacts, step: number): void;
  state(state: 'running' | 'paused'): void;
  advanced(lastStep: number, lastEvent: number): void;
}

/** What a user may ask of a live run. */
export type RunCommand = 'pause' | 'resume' | 'stop' | 'discard' | 'checkpoint';

/** A run whose worker this host may command. */
export interface SupervisedRun {
  /** The worker belongs to another process. */
  readonly foreign: boolean;
  /** Resolves when the worker is gone, however it went. */
  readonly ended: Promise<RunEnd>;
  /**
   * Resolves when the trainer has taken the command, at its next micro-batch.
   * @throws UserError `run/ended` when the worker ends before (stop commands resolve then).
   */
  command(command: RunCommand): Promise<void>;
  /** Ends the worker at once. */
  kill(why: 'on-request' | 'on-close'): void;
  /** Leaves a detached worker alone. */
  release(): void;
}

/** Starts a worker and its run. */
export function superviseRun(
  spawnWorker: SpawnWorker,
  start: RunStart,
  listener: RunListener,
): SupervisedRun {
  const oomKillsBefore = countOomKills();
  const worker = spawnWorker({
    detached: start.detached,
    errorLog: runFiles(start.runDir).errorLog,
  });
  const waiting = new Map<number, (error: WireError | undefined) => void>();
  /** Commands that came before the run could be started. */
  let early: HostToWorker[] | null = [];
  let lastRequest = 0;
  let killedByHost: 'on-request' | 'on-close' | null = null;
  let said: Extract<WorkerToHost, { type: 'ended' }> | null = null;
  let unready: WireError | undefined;

  const send = (message: HostToWorker): void => worker.link.send(message);
  const settle = (request: number, error: WireError | undefined): void => {
    waiting.get(request)?.(error);
    waiting.delete(request);
  };

  const readyTimer = setTimeout(() => {
    unready = {
      code: 'worker/no-answer',
      message: `the training process did not answer in ${READY_LIMIT_MS / 1000} s`,
    };
    worker.kill();
  }, READY_LIMIT_MS);

  worker.link.onMessage((raw) => {
    const message = WorkerToHost.parse(raw);
    switch (message.type) {
      case 'ready':
        clearTimeout(readyTimer);
        send({ type: 'start', ...start });
        for (const command of early ?? []) send(command);
        early = null;
        break;
      case 'started':
        listener.started(message.facts, message.step);
        break;
      case 'state':
        listener.state(message.state);
        break;
      case 'advanced':
        listener.advanced(message.lastStep, message.lastEvent);
        break;
      case 'reply':
        settle(
          message.request,
          message.ok
            ? undefined
            : (message.error ?? { code: 'worker/refused', message: 'the worker refused the command' }),
        );
        break;
      case 'ended':
        said = message;
        break;
    }
  });
  send({ type: 'hello', version: PROTOCOL_VERSION });

  const ended = worker.exited.then((exit): RunEnd => {
    clearTimeout(readyTimer);
    const oomKills = countOomKills();
    const end: RunEnd = unready
      ? { exit: 'failed', error: unready, reason: unready.message }
      : classifyExit({
          process: exit,
          said,
          killedByHost,
          oomKillSeen: oomKillsBefore !== undefined && oomKills !== undefined && oomKills > oomKillsBefore,
          errorTail: worker.errorTail(),
        });
    for (const request of waiting.keys()) {
      settle(request, { code: 'run/ended', message: 'the run ended before it could take the command' });
    }
    return end;
  });

  const request = (message: (request: number) => HostToWorker): Promise<void> => {
    const id = ++lastRequest;
    const reply = new Promise<void>((resolve, reject) => {
      waiting.set(id, (error) =>
        error === undefined ? resolve() : reject(new UserError(error.code, error.message, error.hint)),
      );
    });
    if (early) early.push(message(id));
    else send(message(id));
    return reply;
  };
  const endedIsFine = (error: unknown): void => {
    if (!(error instanceof UserError && error.code === 'run/ended')) throw error;
  };

  return {
    foreign: false,
    ended,
    command: (command) => {
      switch (command) {
        case 'stop':
        case 'discard':
          return request((id) => ({ type: 'stop', request: id, keep: command === 'stop' })).catch(
            endedIsFine,
          );
        default:
          return request((id) => ({ type: command, request: id }));
      }
    },
    kill: (why) => {
      killedByHost ??= why;
      worker.kill();
    },
    release: () => {
      clearTimeout(readyTimer);
      worker.release();
    },
  };
}
