/** How long training will take, before a step of it was measured. */
import { availableParallelism } from 'node:os';
import type { RunPlan } from '#core/contract/method.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { generalSampleOf } from '#worker/model/index.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { productFlops, type ModelLayout } from './step-cost.ts';
import type { TrainingSteps } from './training-steps.ts';

/** GFLOP/s that ONNX Runtime reaches per thread inside a training step, low and high, on processors of recent years. */
const GFLOPS_PER_THREAD = { low: 15, high: 60 };

/** The operations of all products at the speeds of common processors; a layer that is computed twice costs a third more. */
export function estimateTime(
  layout: Omit<ModelLayout, 'storedBytes'>,
  { recomputedLayers }: Pick<MemoryPlan, 'recomputedLayers'>,
  { steps, tokensPerStep }: TrainingSteps,
  spec: RunSpec,
): NonNullable<RunPlan['timeSeconds']> {
  const threads = spec.engine.threads === 'auto' ? availableParallelism() : spec.engine.threads;
  const perToken = productFlops(layout) * (1 + recomputedLayers / layout.plan.layers.length / 3);
  // A micro-batch of general data more in each step.
  const isHeld = layout.session !== undefined && generalSampleOf(layout.session) !== null;
  const besides = isHeld ? 1 / spec.train.gradientAccumulation : 0;
  const gflop = (perToken * tokensPerStep * (1 + besides) * steps) / 1e9;
  return {
    low: gflop / (GFLOPS_PER_THREAD.high * threads),
    high: gflop / (GFLOPS_PER_THREAD.low * threads),
    basis: `${(perToken / 1e6).toLocaleString('en-US', { maximumSignificantDigits: 3 })} million operations for each token, at ${GFLOPS_PER_THREAD.low} to ${GFLOPS_PER_THREAD.high} GFLOP/s on each of ${threads} threads`,
  };
}
