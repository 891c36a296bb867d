/** The file of default outputs that stand for experts: `layers.<l>.default_outputs` [experts, hidden] in float32. */
import { renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import {
  decodeFloats,
  encodeFloats,
  isFloatDtype,
  readSafetensors,
  writeSafetensors,
} from '#worker/checkpoint/index.ts';
import { moeLayerIndices, routerShapes, type DecoderPlan } from '#worker/model/index.ts';

/** Its name in a run directory and in an export. */
const DEFAULT_OUTPUT_FILE = 'default_outputs.safetensors';

const nameOf = (layer: number) => `layers.${layer}.default_outputs`;

/** Writes the file into `dir`, in place of an older one. @param outputs one matrix for each MoE layer. */
export function writeDefaultOutputs(dir: string, plan: DecoderPlan, outputs: readonly Float32Array[]): void {
  const path = join(dir, DEFAULT_OUTPUT_FILE);
  const tensors = moeLayerIndices(plan).map((layer, index) => {
    const values = outputs[index] ?? new Float32Array(0);
    const shape = [values.length / plan.hiddenSize, plan.hiddenSize];
    return { name: nameOf(layer), dtype: 'F32', shape, data: encodeFloats(values, 'F32') } as const;
  });
  writeSafetensors(`${path}.partial`, tensors);
  renameSync(`${path}.partial`, path);
}

/**
 * Reads the file, or the one in a folder.
 * @throws UserError `default-outputs/other-model`, and those of an unreadable file.
 */
export function readDefaultOutputs(path: string, plan: DecoderPlan): Float32Array[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const file = readSafetensors(isFolder ? join(path, DEFAULT_OUTPUT_FILE) : path);
  try {
    const shapes = routerShapes(plan);
    return moeLayerIndices(plan).map((layer, index) => {
      const entry = file.tensors.get(nameOf(layer));
      const wanted = [shapes[index]?.experts, plan.hiddenSize];
      if (entry === undefined || !isFloatDtype(entry.dtype) || entry.shape.join() !== wanted.join()) {
        throw new UserError(
          'default-outputs/other-model',
          `${file.file}: ${nameOf(layer)} is ${entry === undefined ? 'missing' : `${entry.dtype} [${entry.shape.join(', ')}]`}; expected is F32 [${wanted.join(', ')}]`,
          'The file belongs to another model.',
        );
      }
      return decodeFloats(file.read(entry.name), entry.dtype);
    });
  } finally {
    file.close();
  }
}
