/** The `scores` part of the host API: suites of questions that ended runs are asked. */
import path from 'node:path';
import type { CallParsedInput, HostHandlers } from '#core/contract/host-api.ts';
import { type AskProgress, type AskRequest, HELD_OUT } from '#core/contract/suite-score.ts';
import { readScores } from '#core/store/index.ts';
import type { DatasetService } from './dataset-service.ts';
import type { FileService } from './file-service.ts';
import type { HostContext } from './host-context.ts';
import type { RunJobs } from './run-jobs.ts';

type ScoreHandlers = Pick<HostHandlers, Extract<keyof HostHandlers, `scores.${string}`>>;

/** Serves the scores of runs. */
export function createScoreHandlers(
  { ports, rowOf }: HostContext,
  files: FileService,
  datasets: DatasetService,
  jobs: RunJobs,
): ScoreHandlers {
  const suiteOf = async (
    suite: CallParsedInput<'scores.start'>['suite'],
  ): Promise<Pick<AskRequest, 'suite' | 'mapping'>> => {
    if ('heldOut' in suite) return { suite: HELD_OUT };
    if ('handle' in suite) return { suite: await files.pathOf(suite.handle) };
    const { path: file, mapping } = datasets.entryOf(suite.dataset);
    return { suite: file, mapping };
  };
  const asking = jobs.kind<{ readonly suite: string }, AskProgress>('scores.changed');
  return {
    'scores.get': ({ id }) => ({
      scores: [...readScores(rowOf(id).dir)],
      ...asking.stateOf(id),
    }),
    'scores.start': async ({ id, suite, options }) => {
      const found = await suiteOf(suite);
      const name = path.basename(found.suite);
      asking.start(id, { suite: name }, `is being asked ${name}`, (runDir, onProgress, signal) =>
        ports.askSuite({ runDir, ...found, options }, onProgress, signal),
      );
      return null;
    },
    'scores.stop': async ({ id }) => {
      await asking.stop(id);
      return null;
    },
  };
}
