/** The `scores` part of the host API: suites of questions that ended runs are asked. */
import path from 'node:path';
import { toErrorInfo, UserError } from '#core/contract/errors.ts';
import type { HostHandlers } from '#core/contract/host-api.ts';
import { isEnded } from '#core/contract/run-state.ts';
import { type AskRequest, HELD_OUT, type ScoreState } from '#core/contract/suite-score.ts';
import { coalesce } from '#core/link/index.ts';
import { readScores } from '#core/store/index.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';
import type { RunService } from './run-service.ts';

type ScoreHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `scores.${string}`>>;

/** Notices of progress at most this often. */
const NOTICE_EVERY_MS = 250;

/** The service, and what other services need of it. */
export interface ScoreService {
  readonly handlers: ScoreHandlers;
  /** Ends what run `id` is asked; resolves when its process is gone. */
  stop(id: string): Promise<void>;
  /** Ends everything. */
  close(): Promise<void>;
}

/** What a run is asked now. */
interface Asking {
  readonly id: string;
  readonly active: NonNullable<ScoreState['active']>;
  readonly abort: AbortController;
  readonly settled: Promise<void>;
}

/** Serves the scores of the runs of `runs`. A model fills the memory: one run is asked at a time. */
export function createScoreService(
  { notify, ports }: HostContext,
  files: FileService,
  runs: RunService,
): ScoreService {
  let asking: Asking | undefined;
  const failures = new Map<string, NonNullable<ScoreState['failure']>>();

  const start = (id: string, name: string, request: AskRequest): void => {
    failures.delete(id);
    const abort = new AbortController();
    const notices = coalesce(NOTICE_EVERY_MS, () => {
      notify('scores.changed', { id });
      return true;
    });
    const active: Asking['active'] = { suite: name };
    const settled = ports
      .askSuite(
        request,
        (progress) => {
          active.progress = progress;
          notices.push(undefined);
        },
        abort.signal,
      )
      .catch((error: unknown) => {
        if (abort.signal.aborted) return;
        if (!(error instanceof UserError)) ports.reportBug(error);
        failures.set(id, { suite: name, error: toErrorInfo(error) });
      })
      .finally(() => {
        asking = undefined;
        notices.cancel();
        notify('scores.changed', { id });
      });
    asking = { id, active, abort, settled };
    notify('scores.changed', { id });
  };

  const stop = async (id: string): Promise<void> => {
    if (asking?.id !== id) return;
    asking.abort.abort();
    await asking.settled;
  };

  /** @throws UserError `run/unknown`, `run/wrong-state`, `suite/busy`. */
  const dirToAsk = (id: string): string => {
    const { dir, state } = runs.rowOf(id);
    if (!isEnded(state)) {
      throw new UserError('run/wrong-state', `cannot ask a run that is ${state}`, 'Wait until it has ended.');
    }
    if (asking !== undefined) {
      throw new UserError(
        'suite/busy',
        `“${runs.rowOf(asking.id).name}” is being asked ${asking.active.suite}`,
        'Wait until that is done, or stop it on its page.',
      );
    }
    return dir;
  };

  return {
    stop,
    close: async () => {
      if (asking !== undefined) await stop(asking.id);
    },
    handlers: {
      'scores.get': ({ id }) => {
        const failure = failures.get(id);
        return {
          scores: [...readScores(runs.rowOf(id).dir)],
          ...(asking?.id === id && { active: asking.active }),
          ...(failure && { failure }),
        };
      },
      'scores.start': async ({ id, suite, options }) => {
        const file = 'handle' in suite ? await files.pathOf(suite.handle) : HELD_OUT;
        const runDir = dirToAsk(id);
        start(id, path.basename(file), { runDir, suite: file, options });
        return null;
      },
      'scores.stop': async ({ id }) => {
        runs.rowOf(id);
        await stop(id);
        return null;
      },
    },
  };
}
