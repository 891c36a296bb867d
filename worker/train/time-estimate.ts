/** How long training will take, before a step of it was measured. */
import { availableParallelism } from 'node:os';
import type { RunPlan } from '#core/contract/method.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { activeParameterCount, type DecoderPlan } from '#worker/model/index.ts';
import type { MemoryPlan } from './memory-plan.ts';
import type { TrainingSteps } from './training-steps.ts';

/** GFLOP/s that ONNX Runtime reaches per thread inside a training step, low and high, on processors of recent years. */
const GFLOPS_PER_THREAD = { low: 15, high: 60 };

/** Six floating-point operations for each active parameter and token: two forward, four backward; two again where a layer is computed twice. */
export function estimateTime(
  plan: DecoderPlan,
  { recomputedLayers }: Pick<MemoryPlan, 'recomputedLayers'>,
  { steps, tokensPerStep }: TrainingSteps,
  spec: RunSpec,
): NonNullable<RunPlan['timeSeconds']> {
  const threads = spec.engine.threads === 'auto' ? availableParallelism() : spec.engine.threads;
  const computed = activeParameterCount(plan) * (1 + recomputedLayers / plan.layers.length / 3);
  const gflop = (6 * computed * tokensPerStep * steps) / 1e9;
  return {
    low: gflop / (GFLOPS_PER_THREAD.high * threads),
    high: gflop / (GFLOPS_PER_THREAD.low * threads),
    basis: `6 operations for each active parameter and token, at ${GFLOPS_PER_THREAD.low} to ${GFLOPS_PER_THREAD.high} GFLOP/s on each of ${threads} threads`,
  };
}
