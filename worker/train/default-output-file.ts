/** The file of default outputs that stand for experts: `layers.<l>.default_outputs` [experts, hidden] in float32. */
import { invariant } from '#core/contract/errors.ts';
import { decodeFloats, encodeFloats, isFloatDtype } from '#worker/checkpoint/index.ts';
import { routerShapes, shapeOf, type DecoderPlan } from '#worker/model/index.ts';
import { readLayerTensors, writeLayerTensors, type LayerTensorFile } from './layer-tensor-file.ts';

const kind: LayerTensorFile = { name: 'default_outputs', dtype: 'F32', reads: isFloatDtype };

/** Writes the file into `dir`, in place of an older one. @param outputs one matrix for each MoE layer. */
export function writeDefaultOutputs(dir: string, plan: DecoderPlan, outputs: readonly Float32Array[]): void {
  const tensors = outputs.map((values) => ({
    shape: [values.length / plan.hiddenSize, plan.hiddenSize],
    data: encodeFloats(values, 'F32'),
  }));
  writeLayerTensors(dir, kind, plan, tensors);
}

/**
 * Reads the file, or the one in a folder.
 * @throws UserError `layer-tensors/other-model`, and those of an unreadable file.
 */
export function readDefaultOutputs(path: string, plan: DecoderPlan): Float32Array[] {
  const shapes = routerShapes(plan);
  const wanted = (index: number) => [shapeOf(shapes, index).experts, plan.hiddenSize];
  return readLayerTensors(path, kind, plan, wanted).map(({ dtype, bytes }) => {
    invariant(isFloatDtype(dtype), 'other types are refused');
    return decodeFloats(bytes, dtype);
  });
}
