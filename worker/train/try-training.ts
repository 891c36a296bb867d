/** What a graphics adapter makes of training: one step of a small model, beside the same step on the CPU. */
import { UserError } from '#core/contract/errors.ts';
import type { Placement } from '#core/contract/run.ts';
import { gradientNorm, lossTargets, unpaddedBatch } from '#worker/engine/index.ts';
import { summarizePlacement, type ProviderName } from '#worker/runtime/index.ts';
import { loadModel } from './load-model.ts';

/** Enough for several experts to have rows; programs are the same for any number. */
const TOKENS = 16;
/** Relative difference of loss and gradient norm from those of the CPU. */
const TOLERANCE = 1e-2;
const SETTINGS = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.01, maxGradNorm: 1 } as const;

/** One step of full fine-tuning: forward, backward and AdamW of every kind of stage that the model has. */
async function step(modelDir: string, provider: ProviderName) {
  const method = { name: 'full', options: {} };
  const model = await loadModel({ modelDir, method, provider, recordPlacement: true });
  try {
    const { plan, executor, optimizer, runtime } = model;
    const tokens = Int32Array.from({ length: TOKENS }, (_, at) => (7 * at) % plan.vocabularySize);
    const batch = unpaddedBatch(tokens, 1, tokens);
    const { lossSum } = await executor.train(batch, lossTargets(batch).at.length, 1);
    const norm = gradientNorm(optimizer.gradientSquares());
    optimizer.step(SETTINGS, 1, 1e-5, norm);
    return { lossSum, norm, placement: summarizePlacement(runtime.endPlacement()) };
  } finally {
    model.close();
  }
}

/**
 * Trains one step of the model in a folder on the graphics adapter.
 * @returns which of its operators ran there.
 * @throws UserError `runtime/wrong-result`, and whatever goes wrong in a run.
 */
export async function tryTraining(modelDir: string): Promise<Placement> {
  const there = await step(modelDir, 'webgpu');
  const here = await step(modelDir, 'cpu');
  const differs = (got: number, want: number) => !(Math.abs(got / want - 1) < TOLERANCE);
  if (differs(there.lossSum, here.lossSum) || differs(there.norm, here.norm)) {
    throw new UserError(
      'runtime/wrong-result',
      `A training step on the graphics adapter has a loss of ${there.lossSum.toPrecision(4)} and a gradient norm of ${there.norm.toPrecision(4)}, on the CPU ${here.lossSum.toPrecision(4)} and ${here.norm.toPrecision(4)}`,
      'Update its driver, or use engine.provider "cpu".',
    );
  }
  return there.placement;
}
