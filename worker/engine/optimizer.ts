/** The end of an optimizer step: global norm, clipping, AdamW. */
import type { Kernels } from '#worker/kernels/index.ts';
import type { ParameterStore } from './parameter-store.ts';

/** Constants of AdamW (Loshchilov & Hutter 2019) and of clipping. */
export interface AdamWSettings {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Decoupled; applied to matrices only. */
  readonly weightDecay: number;
  /** Gradients are scaled by `min(1, maxGradNorm / (norm + 10⁻⁶))`; null: not at all. */
  readonly maxGradNorm: number | null;
}

/** Norm of the whole gradient. Call once all micro-batches of a step are in; what was never written counts as zero. */
export function gradientNorm(store: ParameterStore, kernels: Kernels): number {
  store.completeGradients();
  return Math.sqrt(kernels.sumOfSquares(store.blocks.gradients, store.trainedElements));
}

/**
 * One AdamW step over all trained parameters. The caller has made sure that `norm` is finite.
 * @param step counts from 1.
 */
export function adamwStep(
  store: ParameterStore,
  kernels: Kernels,
  settings: AdamWSettings,
  step: number,
  learningRate: number,
  norm: number,
): void {
  const { weights, gradients, firstMoments, secondMoments } = store.blocks;
  const gradScale = settings.maxGradNorm === null ? 1 : Math.min(1, settings.maxGradNorm / (norm + 1e-6));
  for (const { start, count, decays } of store.ranges) {
    const at = (block: number) => block + start * 4;
    kernels.adamw(at(weights), at(gradients), at(firstMoments), at(secondMoments), count, {
      lr: learningRate,
      beta1: settings.betas[0],
      beta2: settings.betas[1],
      eps: settings.epsilon,
      weightDecay: decays ? settings.weightDecay : 0,
      step,
      gradScale,
    });
  }
  store.clearGradients();
}
