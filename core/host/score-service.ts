/** The `scores` part of the host API: suites of questions that ended runs are asked. */
import path from 'node:path';
import type { HostHandlers } from '#core/contract/host-api.ts';
import { type AskProgress, HELD_OUT } from '#core/contract/suite-score.ts';
import { readScores } from '#core/store/index.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';
import type { RunJobs } from './run-jobs.ts';
import type { RunService } from './run-service.ts';

type ScoreHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `scores.${string}`>>;

/** Serves the scores of the runs of `runs`. */
export function createScoreHandlers(
  { ports }: HostContext,
  files: FileService,
  runs: RunService,
  jobs: RunJobs,
): ScoreHandlers {
  const asking = jobs.kind<{ readonly suite: string }, AskProgress>('scores.changed');
  return {
    'scores.get': ({ id }) => ({
      scores: [...readScores(runs.rowOf(id).dir)],
      ...asking.stateOf(id),
    }),
    'scores.start': async ({ id, suite, options }) => {
      const file = 'handle' in suite ? await files.pathOf(suite.handle) : HELD_OUT;
      const name = path.basename(file);
      asking.start(id, { suite: name }, `is being asked ${name}`, (runDir, onProgress, signal) =>
        ports.askSuite({ runDir, suite: file, options }, onProgress, signal),
      );
      return null;
    },
    'scores.stop': async ({ id }) => {
      await asking.stop(id);
      return null;
    },
  };
}
