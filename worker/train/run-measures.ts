/** What a run does that its user would not expect of it, in sentences for its log. */
import type { RunSpec } from '#core/contract/run-spec.ts';
import { deviceMeasures, roundingMeasures } from '#worker/plan/index.ts';
import type { GeneralBatch } from './general-routing.ts';
import type { LoadedModel } from './load-model.ts';

/** What is done to need less memory. */
export function memoryMeasures(spec: RunSpec, { memory, devicePlan, plan, store }: LoadedModel): string[] {
  const of = (layers: number) => `${layers} of ${plan.layers.length} layers`;
  const { recomputedLayers = 0, streamedLayers = 0 } = memory ?? {};
  return [
    ...roundingMeasures(spec, store),
    ...(recomputedLayers > 0
      ? [`${of(recomputedLayers)} are computed twice to stay within the memory budget.`]
      : []),
    ...(streamedLayers > 0
      ? [
          `Frozen experts of ${of(streamedLayers)} are read from disk when they are used, for the same reason.`,
        ]
      : []),
    ...(devicePlan === null ? [] : deviceMeasures(devicePlan, plan.layers.length)),
  ];
}

/** That routing is held to that of the untouched model, where it is. */
export function routingMeasures(general: readonly GeneralBatch[]): string[] {
  if (general.length === 0) return [];
  const tokens = general.reduce((sum, { batch }) => sum + batch.tokens, 0);
  return [`Routing is held to that of the untouched model on ${tokens} tokens of the general data.`];
}
