/** What a run does with a number that is none. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { findNonFinite, openModelFolder } from '#worker/checkpoint/index.ts';
import type { MicroBatch } from '#worker/data/index.ts';
import type { TrainingRun } from './training-run.ts';

/**
 * Stops before such a number can reach the weights, and keeps the micro-batch for whoever looks for the cause.
 * @param what is no number, and of which step.
 * @param step steps that are done.
 * @throws UserError `train/non-finite`; in the first step `model/non-finite-weight` where the checkpoint has such a weight.
 */
export async function checkFinite(
  { runDir, spec }: Pick<TrainingRun, 'runDir' | 'spec'>,
  what: string,
  value: number,
  batch: MicroBatch | undefined,
  step: number,
): Promise<void> {
  if (Number.isFinite(value)) return;
  const file = join(runDir, 'failed-batch.json');
  writeFileSync(
    file,
    JSON.stringify(
      batch && {
        step: step + 1,
        examples: batch.examples,
        inputIds: [...batch.inputIds],
        labels: [...batch.labels],
      },
    ),
  );
  const folder = await openModelFolder(spec.model.path);
  try {
    const found = step === 0 ? findNonFinite(folder) : undefined;
    if (found !== undefined) {
      throw new UserError(
        'model/non-finite-weight',
        `${folder.dir}: tensor ${found.tensor} holds ${found.value} at position ${found.index}`,
        'The checkpoint is damaged; download or convert it again.',
      );
    }
  } finally {
    folder.close();
  }
  throw new UserError(
    'train/non-finite',
    `the ${what} is ${value}; nothing was updated with it`,
    `Resume from the last checkpoint with a lower learning rate; the batch is in ${file}.`,
  );
}
