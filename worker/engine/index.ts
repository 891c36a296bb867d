/** Runs the stages of a decoder in order: weights in memory, dispatch to experts, forward, backward, optimizer. */
export { QUERY_BLOCK } from './attention/attention-runner.ts';
export { EXPERTS_AT_ONCE } from './experts/experts-runner.ts';
export { HEAD_SLICE } from './head/frozen-head.ts';
export { ROWS_TOGETHER } from './experts/expert-pairs.ts';
export { LOGIT_CHUNK } from './head/head-parts.ts';
export { lossTargets, unpaddedBatch, type MicroBatch } from './batch.ts';
export { Executor, type LayerRoutingView, type MicroBatchResult, type MoeView } from './executor.ts';
export {
  createOptimizer,
  expertGradientNorms,
  gradientNorm,
  type AdamWSettings,
  type Optimizer,
} from './optimizer/optimizer.ts';
export type { DevicePlace } from './weights/device-parameters.ts';
export { locateParameter, readLocated } from './weights/locate-parameter.ts';
export { momentBytes, type TrainedPart } from './weights/moments.ts';
export { ParameterStore } from './weights/parameter-store.ts';
