/** What `bench` measures: one optimizer step as the trainer takes it, on tokens that are the same in every call. */
import { readFileSync } from 'node:fs';
import { UserError } from '#core/contract/errors.ts';
import { gradientNorm, lossTargets, type MicroBatch } from '#worker/engine/index.ts';
import { philox } from '#worker/random/index.ts';
import { finishStep, type LoadedModel } from '#worker/train/index.ts';

/** Steps that are not measured: programs are compiled in the first. */
export const WARM_UPS = 2;

const OPTIMIZER = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const;
const LEARNING_RATE = 1e-5;
const SEED = 1234;

/**
 * One step of one micro-batch.
 * @param computed called when its gradients are there.
 * @returns the mean loss.
 */
export async function benchStep(
  model: LoadedModel,
  batch: MicroBatch,
  step: number,
  totalSteps: number,
  computed = () => {},
): Promise<number> {
  const { session, executor, optimizer } = model;
  const position = { step, totalSteps, microBatch: 0, microBatches: 1 };
  session.beforeStep?.(position);
  const trained = lossTargets(batch).at.length;
  const { lossSum, usage } = await executor.train(batch, trained, 1);
  computed();
  session.afterMicroBatch(usage, position);
  const norm = gradientNorm(optimizer.gradientSquares());
  optimizer.step(OPTIMIZER, step + 1, LEARNING_RATE, norm, session.frozen);
  finishStep(model, position);
  // As the trainer does: what the programs of a step leave behind is given back then.
  await new Promise(setImmediate);
  return lossSum / trained;
}

/**
 * Ids of step n, from −1: random ones from 2 on, or those of `file` (little-endian u32), from its start again where it ends.
 * @throws UserError `bench/tokens`.
 */
export function tokenStream(
  file: string | undefined,
  vocabulary: number,
  perStep: number,
): (step: number) => Int32Array {
  if (file === undefined) {
    return (step) =>
      Int32Array.from(
        { length: perStep },
        (_, i) => 2 + (philox(SEED, (step + 1) * perStep + i, 0)[0] % (vocabulary - 2)),
      );
  }
  const bytes = readFileSync(file);
  const ids = Int32Array.from(
    { length: Math.floor(bytes.length / 4) },
    (_, i) => bytes.readUInt32LE(4 * i) % vocabulary,
  );
  const stepsInFile = Math.floor(ids.length / perStep);
  if (stepsInFile === 0) {
    throw new UserError(
      'bench/tokens',
      `${file} has ${ids.length} token ids, a step needs ${perStep}`,
      'Give a longer file.',
    );
  }
  return (step) => {
    const at = (step + stepsInFile) % stepsInFile;
    return ids.subarray(at * perStep, (at + 1) * perStep);
  };
}
