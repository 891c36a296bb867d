/** Router bias, condenser and expert files, matched to the MoE layers of a model. */
import { UserError } from '#core/contract/errors.ts';
import {
  readBiasStates,
  readForcedExperts,
  writeBiasStates,
  writeExpertConfig,
  writeForcedExperts,
} from '#worker/checkpoint/index.ts';
import { moeLayerIndices, type DecoderPlan, type Family, type MethodSession } from '#worker/model/index.ts';
import { writeDefaultOutputs } from './default-output-file.ts';
import { writeTokenExperts } from './token-expert-file.ts';

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

/**
 * Writes the router state of a run into `dir` in the published formats, where the method keeps one: other programs read
 * it from there.
 * @param method name of the method that keeps it
 */
export function writeRouterFiles(
  dir: string,
  model: { readonly family: Family; readonly plan: DecoderPlan; readonly session: MethodSession },
  method: string,
): void {
  const { bias_LE, condensers, expertConfig, defaultOutputs, tokenExperts } = model.session.routerState();
  const layers = moeLayerIndices(model.plan);
  const savedAt = new Date();
  if (bias_LE !== undefined) {
    const experts = bias_LE.length / layers.length;
    writeBiasStates(
      dir,
      layers.map((layer, index) => ({
        layer,
        modulePath: model.family.moeModule(layer),
        bias_E: bias_LE.slice(index * experts, (index + 1) * experts),
        updateSpeed: model.session.routerState().biasSpeed ?? 0,
      })),
      // What a bias means depends on the method: ExpertCondenser adds it to logits, loss-free balancing to scores.
      { modelType: model.family.architecture, moduleType: method, savedAt },
    );
  }
  if (condensers !== undefined) {
    const experts = (bias_LE?.length ?? 0) / layers.length;
    writeForcedExperts(
      dir,
      layers.map((layer, index) => ({
        layer,
        modulePath: model.family.moeModule(layer),
        experts: condensers[index] ?? [],
        totalExperts: experts,
      })),
      { savedAt },
    );
  }
  if (defaultOutputs !== undefined) writeDefaultOutputs(dir, model.plan, defaultOutputs);
  if (tokenExperts !== undefined) writeTokenExperts(dir, model.plan, tokenExperts);
  if (expertConfig !== undefined) {
    const { experts, ...parts } = expertConfig;
    writeExpertConfig(dir, {
      experts: new Map(layers.map((layer, index) => [layer, experts[index] ?? []])),
      ...parts,
    });
  }
}
