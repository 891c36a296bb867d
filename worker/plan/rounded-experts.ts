/** Which frozen experts a run holds as int8 rows. */
import type { FrozenExperts, RunSpec } from '#core/contract/run-spec.ts';
import type { ParameterStore } from '#worker/engine/index.ts';
import { isAdapted, type MethodSession, type Parameter } from '#worker/model/index.ts';
import type { ModelLayout } from './step-cost.ts';

/**
 * Which matrices are held as int8 rows where `engine.frozenExperts` asks for it: those of routed experts that do not train and have no
 * adapter beside them, which would start from the weight or be merged into it.
 * @param session absent: what the method adds is not known.
 */
export function roundedUnder(
  frozenExperts: FrozenExperts,
  isTrained: ModelLayout['isTrained'],
  session?: Pick<MethodSession, 'adapters'>,
): (parameter: Parameter) => boolean {
  const adapters = session?.adapters ?? null;
  return (parameter) =>
    frozenExperts !== 'stored' &&
    parameter.expert !== null &&
    parameter.shape.length === 2 &&
    !isTrained(parameter) &&
    !(adapters !== null && isAdapted(adapters, parameter));
}

/** How a run holds frozen experts: on a graphics adapter they are not rounded. */
export function heldExperts({ engine }: Pick<RunSpec, 'engine'>): FrozenExperts {
  return engine.provider === 'webgpu' ? 'stored' : engine.frozenExperts;
}

/** How many matrices of a model are held as int8 rows. */
export function roundedMatrices(store: Pick<ParameterStore, 'parameters' | 'heldDtype'>): number {
  return store.parameters.filter(({ id }) => store.heldDtype(id) === 'int8').length;
}

/** What became of `engine.frozenExperts`, in a sentence; none where it asks for nothing. */
export function roundingMeasures(
  { engine }: Pick<RunSpec, 'engine'>,
  store: Pick<ParameterStore, 'parameters' | 'heldDtype' | 'multipliesInt8' | 'device'>,
): string[] {
  if (engine.frozenExperts === 'stored') return [];
  if (store.device !== null)
    return ['Frozen experts are held as stored: they are not rounded to int8 on a graphics adapter.'];
  const count = roundedMatrices(store);
  if (count === 0)
    return ['No experts are rounded to int8: under this method all of them train or have adapters.'];
  return [
    `${count.toLocaleString('en-US')} matrices of frozen experts are rounded to int8. Losses are those of the rounded model; exports have the original weights.`,
    ...(engine.frozenExperts === 'int8-products'
      ? [
          store.multipliesInt8
            ? 'They are multiplied as they are, with tokens and gradients rounded to int8 too.'
            : 'They are widened to float32 before they are multiplied: sums of 8-bit products overflow on this processor, which has no VNNI.',
        ]
      : []),
  ];
}
