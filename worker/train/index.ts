/** Training: from a run specification to checkpoints, and what a model in memory can be asked. */
export { adapterConfig, adaptersByName, readAdapters, targetModules } from './adapter-names.ts';
export { additionsMetadata, decoderOf } from './decoder-of.ts';
export { measureExperts } from './expert-scores.ts';
export { finishStep } from './finish-step.ts';
export { answerGreedily, generateTokens, likeliest, sampled } from './generate.ts';
export { inspectModel } from './inspect-model.ts';
export { type LoadRequest, type LoadedModel, decoderPlanOf, loadModel } from './load-model.ts';
export { loaderOptions } from './loader-options.ts';
export { methodContext } from './method-context.ts';
export { type ModelSource, type OpenedModel, endIds, openModel } from './open-model.ts';
export { listMethods, planRun } from './plan-run.ts';
export { previewExperts } from './preview-experts.ts';
export { type Prompt, comparePrompts, weightChanges } from './prompt-usage.ts';
export { restoreSession } from './restore-session.ts';
export { type LayerStudy, measureDrift, studyRouting } from './routing-study.ts';
export { type Answer, scoreSuites } from './score-suites.ts';
export { train } from './train.ts';
export { openTrainedWeights } from './trainer-state.ts';
export type {
  TrainingCommand,
  TrainingControl,
  TrainingObserver,
  TrainingOutcome,
  TrainingRun,
} from './training-run.ts';
export { tryTraining } from './try-training.ts';
export { unitPeaks } from './unit-peaks.ts';
export { anySubmatrices, measureSubmatrices } from './warm-up.ts';
