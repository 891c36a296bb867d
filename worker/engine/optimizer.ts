/** The end of an optimizer step: global norm, clipping, AdamW. */
import type { Kernels } from '#worker/kernels/index.ts';
import { moeLayerIndices, type DecoderPlan } from '#worker/model/index.ts';
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
 * Norm of the gradient of each expert, `[MoE layers × experts]`: of all of it that trains, adapters included; NaN where
 * nothing does. Call it like `gradientNorm`, before the update.
 */
export function expertGradientNorms(
  plan: DecoderPlan,
  store: ParameterStore,
  kernels: Kernels,
): Float32Array {
  const moe = moeLayerIndices(plan);
  const first = plan.layers[moe[0] ?? -1]?.feedForward;
  const experts = first?.kind === 'moe' ? first.experts : 0;
  const squares_LE = new Float64Array(moe.length * experts).fill(NaN);
  store.completeGradients();
  for (const { id, layer, expert } of store.parameters) {
    if (layer === null || expert === null || !store.isTrained(id)) continue;
    const at = moe.indexOf(layer) * experts + expert;
    const { data } = store.gradient(id);
    const before = squares_LE[at] as number;
    squares_LE[at] = (Number.isNaN(before) ? 0 : before) + kernels.sumOfSquares(data.byteOffset, data.length);
  }
  return Float32Array.from(squares_LE, Math.sqrt);
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
