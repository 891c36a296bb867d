import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invariant } from '#core/contract/errors.ts';
import { decodeFloats, isFloatDtype, type FloatDtype } from './dtype.ts';
import {
  encodeFinite,
  writeCompanions,
  writeConfig,
  writeNewFolder,
  type FolderOptions,
  type NewFolder,
} from './export-folder.ts';
import { writeDurably, type FileDigest, type WritableFileSystem } from './file-system.ts';
import type { JsonObject } from './json-file.ts';
import { ADDITIONS_FILE, openModelFolder, type ModelFolder } from './model-folder.ts';
import { tensorBytes, type TensorEntry } from './safetensors-header.ts';
import { writeSafetensors, type NamedTensor } from './safetensors.ts';

/** Trained values of one tensor. As a function they are made when the tensor's turn comes. */
export interface TrainedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | (() => Float32Array);
  /** Type of a tensor that the source does not have, where types are those of the source; F32 when absent. */
  readonly dtype?: FloatDtype;
}

/** A checkpoint folder made from another one. */
export interface HfFolderRequest {
  /** The model that was trained: gives everything that `tensors` does not. */
  readonly source: ModelFolder;
  /** The folder to create. It may exist if it is empty. */
  readonly out: string;
  /** Values that replace tensors of the source or add new ones, by name. */
  readonly tensors: ReadonlyMap<string, TrainedTensor>;
  /**
   * Element type of all floating-point weights; `source` keeps each tensor's own. Tensors of the
   * source in other types than F32, BF16 and F16 are copied as they are.
   */
  readonly dtype: FloatDtype | 'source';
  /** Tensors of the source to leave out. */
  readonly omit?: ReadonlySet<string>;
  /** What the file of additions holds; absent: that of the source is carried over, if there is one. */
  readonly additions?: {
    readonly tensors: readonly NamedTensor[];
    readonly metadata: Readonly<Record<string, string>>;
  };
  /** Keys to set in config.json. */
  readonly config?: JsonObject;
  /** Further files, by plain name. They replace copied ones. */
  readonly extraFiles?: ReadonlyMap<string, string | Uint8Array>;
  /** Above this size the weights are split into several files; default 5 GB, as Hugging Face does. */
  readonly shardBytes?: number;
  readonly fileSystem?: WritableFileSystem;
  readonly onProgress?: FolderOptions['onProgress'];
}

/**
 * Writes a model folder in the Hugging Face layout, ready to be loaded elsewhere: weights (sharded above a size, with
 * an index), config.json, and tokenizer and companion files of the source. It is written beside `out`, reopened and
 * compared with the checksums taken while writing, and only then given its name.
 * @returns the files, with size and SHA-256
 * @throws UserError `export/non-finite` (naming the tensor), and those of `writeNewFolder`; nothing is then left behind
 */
export async function exportHfFolder(request: HfFolderRequest): Promise<readonly FileDigest[]> {
  const { source, out, additions, extraFiles = new Map<string, string | Uint8Array>() } = request;
  const fill = async (folder: NewFolder): Promise<void> => {
    const { path, fileSystem, files } = folder;
    files.push(...writeWeights(request, folder));
    writeConfig(folder, source, request.dtype, request.config);
    if (additions !== undefined) {
      const { tensors, metadata } = additions;
      files.push(writeSafetensors(join(path, ADDITIONS_FILE), tensors, { metadata, fileSystem }));
    } else if (source.additions !== null) {
      folder.write(ADDITIONS_FILE, readFileSync(source.additions.file));
    }
    writeCompanions(folder, source, extraFiles);
    const model = await openModelFolder(path);
    model.close();
    const { length } = exportedTensors(request);
    invariant(
      model.tensors.size === length,
      `export: ${model.tensors.size} of ${length} tensors were found again`,
    );
  };
  return writeNewFolder(out, fill, request);
}

/** Every tensor of the export, with data made on demand. */
function exportedTensors({ source, tensors, dtype, omit }: HfFolderRequest): readonly NamedTensor[] {
  const kept = [...source.tensors.values()].filter(
    ({ name }) => !tensors.has(name) && omit?.has(name) !== true,
  );
  return [
    ...kept.map((entry) => carriedOver(source, entry, dtype)),
    ...[...tensors].map(([name, { shape, data, dtype: added = 'F32' }]): NamedTensor => {
      const own = source.tensors.get(name)?.dtype;
      const stored = dtype !== 'source' ? dtype : own !== undefined && isFloatDtype(own) ? own : added;
      const encode = (): Uint8Array => encodeFinite(name, typeof data === 'function' ? data() : data, stored);
      return { name, dtype: stored, shape, data: encode };
    }),
  ];
}

function carriedOver(source: ModelFolder, entry: TensorEntry, dtype: FloatDtype | 'source'): NamedTensor {
  const { name, shape, dtype: own } = entry;
  const bytes = (): Uint8Array => {
    const target = new Uint8Array(entry.end - entry.begin);
    source.readInto(name, target);
    return target;
  };
  if (dtype === 'source' || dtype === own || !isFloatDtype(own))
    return { name, dtype: own, shape, data: bytes };
  return { name, dtype, shape, data: () => encodeFinite(name, decodeFloats(bytes(), own), dtype) };
}

/** Writes model.safetensors, or numbered shards with their index. */
function writeWeights(request: HfFolderRequest, { path, fileSystem, expect }: NewFolder): FileDigest[] {
  const { shardBytes = 5e9 } = request;
  const shards: NamedTensor[][] = [[]];
  let totalBytes = 0;
  let shardFill = 0;
  for (const tensor of exportedTensors(request)) {
    const bytes = tensorBytes(tensor.dtype, tensor.shape);
    if (shardFill > 0 && shardFill + bytes > shardBytes) {
      shards.push([]);
      shardFill = 0;
    }
    shards.at(-1)?.push(tensor);
    shardFill += bytes;
    totalBytes += bytes;
  }
  expect(totalBytes);
  const options = { metadata: { format: 'pt' }, fileSystem };
  if (shards.length === 1)
    return [writeSafetensors(join(path, 'model.safetensors'), shards[0] ?? [], options)];
  const digits = (n: number): string => String(n).padStart(5, '0');
  const weightMap: Record<string, string> = {};
  const files = shards.map((tensors, i) => {
    const name = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
    for (const tensor of tensors) weightMap[tensor.name] = name;
    return writeSafetensors(join(path, name), tensors, options);
  });
  const index = { metadata: { total_size: totalBytes }, weight_map: weightMap };
  const text = new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
  return [...files, writeDurably(fileSystem, join(path, 'model.safetensors.index.json'), [text])];
}
