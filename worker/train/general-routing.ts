/** General data on which routing is held to that of the untouched model: a few micro-batches, and that routing. */
import { UserError } from '#core/contract/errors.ts';
import type { MicroBatch } from '#worker/data/index.ts';
import { Executor } from '#worker/engine/index.ts';
import { plainSession } from '#worker/methods/index.ts';
import { generalSampleOf, type DecoderPlan, type MethodSession } from '#worker/model/index.ts';
import type { LoadedModel } from './load-model.ts';

/** One micro-batch of general data. */
export interface GeneralBatch {
  readonly batch: MicroBatch;
  /** Routing probabilities of the untouched model, `[tokens × experts]` for each MoE layer. */
  readonly base_L: readonly Float32Array[];
}

/** @throws UserError `train/no-general-data` when a loss is taken on general data and the run names none. */
export function checkGeneralData({ losses }: Pick<MethodSession, 'losses'>, isNamed: boolean): void {
  const loss = losses.find(({ general }) => general !== undefined);
  if (loss === undefined || isNamed) return;
  throw new UserError(
    'train/no-general-data',
    `method.options: the loss “${loss.name}” is taken on general data, and data.general names none`,
    'Name general rows in data.general, or take the loss on the training data.',
  );
}

/**
 * What the losses on general data look at: the first micro-batches with no more real tokens than these ask for, at least one; empty
 * where no loss asks. The weights of the model must be as they were loaded: those of the checkpoint, whose own routing is applied.
 * @param plan of the checkpoint, without what the method adds.
 * @param batches one pass over the general data.
 */
export async function generalBatches(
  { session, store, runtime, arena, kernels }: LoadedModel,
  plan: DecoderPlan,
  batches: Iterable<MicroBatch>,
): Promise<GeneralBatch[]> {
  const sample = generalSampleOf(session);
  if (sample === null) return [];
  const untouched = plainSession(plan, session);
  const executor = new Executor({ plan, store, session: untouched, runtime, arena, kernels });
  const chosen: GeneralBatch[] = [];
  let tokens = 0;
  for (const batch of batches) {
    tokens += batch.tokens;
    if (chosen.length > 0 && tokens > sample.tokens) break;
    chosen.push({ batch, base_L: await executor.routingProbabilities(batch) });
    // Lets commands and signals in.
    await new Promise(setImmediate);
  }
  return chosen;
}
