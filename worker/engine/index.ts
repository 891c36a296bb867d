/** Runs the stages of a decoder in order: weights in memory, dispatch to experts, forward, backward, optimizer. */
export { IGNORED_LABEL, lossTargets, type MicroBatch } from './batch.ts';
export { Executor, type ExecutorParts, type LayerRoutingView, type MicroBatchResult } from './executor.ts';
export { adamwStep, gradientNorm, type AdamWSettings } from './optimizer.ts';
export { locateParameter, ParameterStore } from './parameter-store.ts';
