/** Training in the process of a test, without the worker that commands start. */
import { mkdirSync, writeFileSync } from 'node:fs';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { train, type TrainingCommand, type TrainingOutcome } from '#worker/train/index.ts';
import path from 'node:path';

const silent = {
  prepared: () => undefined,
  step: () => undefined,
  evaluation: () => undefined,
  placed: () => undefined,
  checkpoint: () => undefined,
  event: () => undefined,
  progress: () => undefined,
};

/**
 * Trains into `runDir`, which commands then find to be a run.
 * @param command asked before each micro-batch, of which `asked` came before.
 */
export function trainHere(
  runDir: string,
  spec: RunSpec,
  resume = false,
  command: (asked: number) => TrainingCommand = () => 'continue',
): Promise<TrainingOutcome> {
  mkdirSync(runDir, { recursive: true });
  writeFileSync(path.join(runDir, 'run.json'), JSON.stringify(spec));
  let asked = 0;
  const control = { next: () => command(asked++) };
  const cacheDir = path.join(path.dirname(runDir), 'cache');
  return train({ spec, runDir, cacheDir, resume, control, observer: silent });
}
