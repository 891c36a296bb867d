/** Files that a trained model needs beside its weights: one tensor for each MoE layer, `layers.<l>.<name>`, in safetensors. */
import { renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { readSafetensors, writeSafetensors, type Dtype } from '#worker/checkpoint/index.ts';
import { moeLayerIndices, type DecoderPlan } from '#worker/model/index.ts';

/** A kind of such files. */
export interface LayerTensorFile {
  /** Of each tensor; with `.safetensors` that of the file in a run directory and in an export. */
  readonly name: string;
  /** As it is written. */
  readonly dtype: Dtype;
  /** Whether a tensor stored as `dtype` can be read. */
  reads(dtype: Dtype): boolean;
}

const fileName = ({ name }: LayerTensorFile) => `${name}.safetensors`;
const tensorName = ({ name }: LayerTensorFile, layer: number) => `layers.${layer}.${name}`;

/** Writes the file into `dir`, in place of an older one. @param tensors one for each MoE layer. */
export function writeLayerTensors(
  dir: string,
  kind: LayerTensorFile,
  plan: DecoderPlan,
  tensors: readonly { readonly shape: readonly number[]; readonly data: Uint8Array }[],
): void {
  const path = join(dir, fileName(kind));
  const layers = moeLayerIndices(plan);
  writeSafetensors(
    `${path}.partial`,
    tensors.map((tensor, index) => ({
      ...tensor,
      name: tensorName(kind, layers[index] ?? index),
      dtype: kind.dtype,
    })),
  );
  renameSync(`${path}.partial`, path);
}

/**
 * Reads the file, or the one in a folder: the bytes and type of each MoE layer's tensor.
 * @param shapeOf what the tensor of a MoE layer must have.
 * @throws UserError `layer-tensors/other-model`, and those of an unreadable file.
 */
export function readLayerTensors(
  path: string,
  kind: LayerTensorFile,
  plan: DecoderPlan,
  shapeOf: (moeLayer: number) => readonly number[],
): { readonly dtype: Dtype; readonly bytes: Uint8Array<ArrayBuffer> }[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const file = readSafetensors(isFolder ? join(path, fileName(kind)) : path);
  try {
    return moeLayerIndices(plan).map((layer, index) => {
      const name = tensorName(kind, layer);
      const entry = file.tensors.get(name);
      const wanted = shapeOf(index);
      if (entry === undefined || !kind.reads(entry.dtype) || entry.shape.join() !== wanted.join()) {
        throw new UserError(
          'layer-tensors/other-model',
          `${file.file}: ${name} is ${entry === undefined ? 'missing' : `${entry.dtype} [${entry.shape.join(', ')}]`}; expected is ${kind.dtype} [${wanted.join(', ')}]`,
          'The file belongs to another model.',
        );
      }
      return { dtype: entry.dtype, bytes: file.read(name) };
    });
  } finally {
    file.close();
  }
}
