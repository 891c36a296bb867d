/** Training and generation: from a run specification to checkpoints. */
export { adaptersByName } from './adapter-names.ts';
export { decoderOf } from './decoder-of.ts';
export { exportRun, refusedFormats } from './export-run.ts';
export { measureExperts } from './expert-scores.ts';
export { finishStep } from './finish-step.ts';
export { endIds, openModel, type ModelSource, type OpenedModel } from './open-model.ts';
export { answerGreedily, generateTokens, likeliest, sampled } from './generate.ts';
export { inspectModel } from './inspect-model.ts';
export { decoderPlanOf, loadModel, type LoadedModel, type LoadRequest } from './load-model.ts';
export { mergeAdapters } from './merge-adapters.ts';
export { listMethods, planRun } from './plan-run.ts';
export { previewExperts } from './preview-experts.ts';
export { comparePrompts, weightChanges, type Prompt } from './prompt-usage.ts';
export { measureDrift, studyRouting, type LayerStudy } from './routing-study.ts';
export { train } from './train.ts';
export { productFlops } from './step-cost.ts';
export { tryTraining } from './try-training.ts';
export { scoreSuites, type Answer } from './score-suites.ts';
export { openTrainedWeights } from './trainer-state.ts';
export { unitPeaks } from './unit-peaks.ts';
export { placeOf, storedValues, writeModel, type ChangedModel } from './write-model.ts';
export { writeOnnx } from './write-onnx.ts';
export { restoreSession } from './restore-session.ts';
export { anySubmatrices, measureSubmatrices } from './warm-up.ts';
export type {
  TrainingCommand,
  TrainingControl,
  TrainingObserver,
  TrainingOutcome,
  TrainingRun,
} from './training-run.ts';
