/** Router bias and condenser files, matched to the MoE layers of a model. */
import { UserError } from '#core/contract/errors.ts';
import { readBiasStates, readForcedExperts } from '#worker/checkpoint/index.ts';

/** Values for each of `layers` (decoder indices), in order. */
function forLayers<R extends { readonly layer: number }, T>(
  path: string,
  records: readonly R[] | undefined,
  layers: readonly number[],
  valueOf: (record: R) => T,
): T[] {
  if (records === undefined) {
    throw new UserError(
      'router-file/missing',
      `${path} does not exist`,
      'Give the file, or the folder that holds it.',
    );
  }
  return layers.map((layer) => {
    const record = records.find((candidate) => candidate.layer === layer);
    if (record === undefined) {
      throw new UserError(
        'router-file/missing-layer',
        `${path} has no entry for layer ${layer}; it has ${records.map((r) => r.layer).join(', ')}`,
        'The file belongs to another model.',
      );
    }
    return valueOf(record);
  });
}

/** Router biases of `layers`. @throws UserError when the file is missing, malformed or of another model. */
export function biasOfLayers(path: string, layers: readonly number[]): number[][] {
  return forLayers(path, readBiasStates(path), layers, (record) => [...record.bias_E]);
}

/** Condensers of `layers`. @throws UserError when the file is missing, malformed or of another model. */
export function condensersOfLayers(path: string, layers: readonly number[]): number[][] {
  return forLayers(path, readForcedExperts(path), layers, (record) => [...record.experts]);
}
