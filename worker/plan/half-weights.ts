/** Which frozen weights lie on a graphics adapter in float16. */
import { UserError } from '#core/contract/errors.ts';
import type { DeviceWeights } from '#core/contract/run-spec.ts';
import type { ParameterStore } from '#worker/engine/index.ts';
import {
  elementCount,
  isAdded,
  type DecoderPlan,
  type Parameter,
  type StoredDtype,
} from '#worker/model/index.ts';

/** Whether a parameter whose tensor has the type `stored` does. */
export type HalfRule = (parameter: Parameter, stored: StoredDtype) => boolean;

/**
 * Matrices of the checkpoint that do not train. Routers stay as they are, since a token may go elsewhere for a digit, and vectors are
 * too small to count. An embedding is there only where it is the head too.
 * @param hasFloat16 whether the adapter has.
 * @throws UserError `train/no-float16` where it is asked for and there is none.
 */
export function halvesUnder(
  deviceWeights: DeviceWeights,
  { tiedHead }: Pick<DecoderPlan, 'tiedHead'>,
  hasFloat16: () => boolean,
  isTrained: (parameter: Parameter) => boolean,
): HalfRule {
  if (deviceWeights === 'float32') return () => false;
  const has = hasFloat16();
  if (!has && deviceWeights === 'float16') {
    throw new UserError(
      'train/no-float16',
      'engine.deviceWeights "float16": the graphics adapter has no float16 (WebGPU\'s shader-f16)',
      'Use engine.deviceWeights "auto" or "float32".',
    );
  }
  return (parameter, stored) =>
    has &&
    (deviceWeights === 'float16' || stored !== 'float32') &&
    parameter.shape.length === 2 &&
    parameter.role !== 'router' &&
    (parameter.role !== 'embedding' || tiedHead) &&
    !isAdded(parameter) &&
    !isTrained(parameter);
}

/** How many parameters the graphics adapter that a model runs on has in float16. */
export function halfParameters(store: Pick<ParameterStore, 'parameters' | 'dtype' | 'device'>): number {
  if (store.device === null) return 0;
  const halves = store.parameters.filter(({ id }) => store.dtype(id) === 'float16');
  return halves.reduce((sum, { shape }) => sum + elementCount(shape), 0);
}
