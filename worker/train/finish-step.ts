/** What a method does between the optimizer's move and the next step. */
import type { StepPosition } from '#worker/model/index.ts';
import type { LoadedModel } from './load-model.ts';

/** Lets the method look at and change weights, and end its step; returns sentences for the user. */
export function finishStep(
  { session, store }: Pick<LoadedModel, 'session' | 'store'>,
  at: StepPosition,
): readonly string[] {
  session.rewriteWeights?.(at, (id) => store.trainedWeight(id));
  store.publishWeights();
  return session.afterStep(at);
}
