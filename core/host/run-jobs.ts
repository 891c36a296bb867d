/** What is done with the models of ended runs, in processes beside. A model fills the memory: one thing is done at a time. */
import { type ErrorInfo, toErrorInfo, UserError } from '#core/contract/errors.ts';
import { isEnded } from '#core/contract/run-state.ts';
import { coalesce } from '#core/link/index.ts';
import type { HostContext } from './host-context.ts';

/** Notices of progress at most this often. */
const NOTICE_EVERY_MS = 250;

/** Tells of changes; each kind of job has one. */
type Channel = 'scores.changed' | 'exports.changed';

/** What is shown of the job of a run that was asked for last: `W` says what it is about. */
interface JobState<W, P> {
  readonly active?: W & { progress?: P };
  readonly failure?: W & { readonly error: ErrorInfo };
}

/** Jobs of one kind. */
export interface JobKind<W, P> {
  /**
   * Begins `work` for run `id`.
   * @param doing what is done to the run, as in “is being exported”.
   * @param work is given the run's directory, and ends at once by `signal`; it then throws.
   * @throws UserError `run/unknown`, `run/wrong-state`, `run/busy`.
   */
  start(
    id: string,
    what: W,
    doing: string,
    work: (runDir: string, onProgress: (progress: P) => void, signal: AbortSignal) => Promise<void>,
  ): void;
  stateOf(id: string): JobState<W, P>;
  /** Ends it; resolves when its process is gone. @throws UserError `run/unknown`. */
  stop(id: string): Promise<void>;
}

/** All kinds of jobs. */
export interface RunJobs {
  kind<W extends object, P>(channel: Channel): JobKind<W, P>;
  /** Ends what is done to run `id`; resolves when its process is gone. */
  stop(id: string): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}

/** What is done now. */
interface Current {
  readonly id: string;
  readonly channel: Channel;
  readonly doing: string;
  readonly abort: AbortController;
  readonly settled: Promise<void>;
}

/** Does jobs for runs. */
export function createRunJobs({ notify, ports, rowOf }: HostContext): RunJobs {
  let current: Current | undefined;

  const end = async (job: Current | undefined): Promise<void> => {
    job?.abort.abort();
    await job?.settled;
  };

  /** The directory of a run that has ended, while nothing is done. */
  const freeDir = (id: string): string => {
    const { dir, state } = rowOf(id);
    if (!isEnded(state)) {
      throw new UserError(
        'run/wrong-state',
        `a run that is ${state} has not ended`,
        'Wait until it has ended.',
      );
    }
    if (current !== undefined) {
      throw new UserError(
        'run/busy',
        `“${rowOf(current.id).name}” ${current.doing}`,
        'Wait until that is done, or stop it on its page.',
      );
    }
    return dir;
  };

  const kind = <W extends object, P>(channel: Channel): JobKind<W, P> => {
    let active: (W & { progress?: P }) | undefined;
    const failures = new Map<string, W & { readonly error: ErrorInfo }>();
    return {
      start: (id, what, doing, work) => {
        const dir = freeDir(id);
        failures.delete(id);
        const abort = new AbortController();
        const notices = coalesce(NOTICE_EVERY_MS, () => {
          notify(channel, { id });
          return true;
        });
        const shown: W & { progress?: P } = { ...what };
        const onProgress = (progress: P): void => {
          shown.progress = progress;
          notices.push(undefined);
        };
        const settled = work(dir, onProgress, abort.signal)
          .catch((error: unknown) => {
            if (abort.signal.aborted) return;
            if (!(error instanceof UserError)) ports.reportBug(error);
            failures.set(id, { ...what, error: toErrorInfo(error) });
          })
          .finally(() => {
            active = undefined;
            current = undefined;
            notices.cancel();
            notify(channel, { id });
          });
        active = shown;
        current = { id, channel, doing, abort, settled };
        notify(channel, { id });
      },
      stateOf: (id) => {
        const failure = failures.get(id);
        return { ...(active && current?.id === id && { active }), ...(failure && { failure }) };
      },
      stop: async (id) => {
        rowOf(id);
        if (current?.id === id && current.channel === channel) await end(current);
      },
    };
  };

  return {
    kind,
    stop: async (id) => {
      if (current?.id === id) await end(current);
    },
    close: () => end(current),
  };
}
