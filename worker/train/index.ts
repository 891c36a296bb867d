/** Training and generation on a loaded model. */
export { generateGreedy, type Prompts } from './generate.ts';
export { loadModel, type LoadedModel, type LoadRequest } from './load-model.ts';
export type {
  TrainingCommand,
  TrainingControl,
  TrainingObserver,
  TrainingOutcome,
  TrainingRun,
} from './training-run.ts';
