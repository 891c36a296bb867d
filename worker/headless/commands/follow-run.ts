/** A run in a worker process, followed on a terminal until it ends. */
import type { RunDetail } from '#core/contract/run.ts';
import { runHeadless, type HeadlessTask, type TrainLine } from '../run-headless.ts';
import { EXIT, type Terminal } from './command.ts';
import { megabytes, number, secondsRange } from './terminal.ts';

/** Steps whose times the estimate of the time left is made of. */
const RECENT_STEPS = 20;

/** How a followed run ended. */
export interface FollowedRun {
  readonly exitCode: number;
  readonly detail: RunDetail;
  readonly dir: string | undefined;
}

/**
 * Trains, shows progress, and passes Ctrl-C on: once stops with a checkpoint, twice ends at once.
 * @param label is put before progress lines, to tell several runs apart.
 * @throws UserError of `runHeadless`.
 */
export async function followRun(
  task: HeadlessTask,
  home: string | undefined,
  terminal: Terminal,
  label = '',
): Promise<FollowedRun> {
  const describe = createDescriber(label);
  let dir: string | undefined;
  const run = runHeadless(task, { home }, (line) => {
    if (line.type === 'started') dir = line.dir;
    terminal.jsonLine(line);
    const text = describe(line);
    if (line.type === 'step') terminal.progress(text);
    else if (line.type !== 'ended') terminal.note(text);
  });
  let interrupted = false;
  const interrupt = (): void => {
    terminal.note(
      interrupted
        ? `${label}ending at once; the last checkpoint is kept`
        : `${label}stopping after this micro-batch (again: end at once)`,
    );
    interrupted = true;
    run.interrupt();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, interrupt);
  try {
    const detail = await run.ended;
    return { exitCode: exitCodeOf(detail), detail, dir };
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

function exitCodeOf({ state, error, facts }: RunDetail): number {
  if (state === 'completed') return EXIT.done;
  if (state === 'stopped') return EXIT.stopped;
  if (error?.code === 'worker/version-mismatch') return EXIT.versionMismatch;
  // A worker that never got its run prepared found model, data or options to be wrong.
  const badInput =
    state === 'failed' && facts === undefined && error !== undefined && error.code !== 'internal';
  return badInput ? EXIT.usage : EXIT.failed;
}

/** Makes lines for people, and knows how far the run is. */
function createDescriber(label: string): (line: TrainLine) => string {
  let totalSteps = 0;
  const seconds: number[] = [];
  const describe = (line: TrainLine): string => {
    switch (line.type) {
      case 'started':
        totalSteps = line.totalSteps;
        return (
          `run ${line.runId} in ${line.dir}: ${totalSteps} steps, ` +
          `${number(line.trainableParameters / 1e6, 3)} of ${number(line.totalParameters / 1e6, 3)} M parameters trained`
        );
      case 'step': {
        seconds.push(line.tokens / line.tokensPerSecond);
        if (seconds.length > RECENT_STEPS) seconds.shift();
        return [
          `step ${line.step}/${totalSteps}`,
          `loss ${line.loss.toFixed(3)}`,
          `${number(line.tokensPerSecond, 3)} tok/s`,
          megabytes(line.rssMB),
          ...timeLeft(seconds, totalSteps - line.step),
        ].join(' · ');
      }
      case 'evaluation':
        return `step ${line.step}: validation loss ${line.loss.toFixed(4)} over ${line.trainedTokens} tokens${
          line.general ? `, on general data ${line.general.loss.toFixed(4)}` : ''
        }`;
      case 'checkpoint':
        return `step ${line.step}: checkpoint ${line.path}`;
      case 'ended':
        return `${line.state} at step ${line.step}${line.reason === null ? '' : `: ${line.reason}`}`;
    }
  };
  return (line) => `${label}${describe(line)}`;
}

/** The time left if steps go on as the faster and as the slower quarter of the recent ones. */
function timeLeft(seconds: readonly number[], stepsLeft: number): string[] {
  if (seconds.length < 3 || stepsLeft === 0) return [];
  const sorted = seconds.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0) * stepsLeft;
  return [`${secondsRange(at(0.25), at(0.75))} left`];
}
