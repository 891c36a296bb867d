import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import { decodeFloats, encodeFloats, findNotBelow, isFloatDtype, type FloatDtype } from './dtype.ts';
import {
  digestFile,
  diskFileSystem,
  writeDurably,
  writeError,
  type FileDigest,
  type WritableFileSystem,
} from './file-system.ts';
import { keepNumbers, type JsonObject } from './json-file.ts';
import { ADDITIONS_FILE, checkInside, openModelFolder, type ModelFolder } from './model-folder.ts';
import { tensorBytes, type TensorEntry } from './safetensors-header.ts';
import { writeSafetensors, type NamedTensor } from './safetensors.ts';

/** Trained values of one tensor. As a function they are made when the tensor's turn comes. */
export interface TrainedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | (() => Float32Array);
  /** Type of a tensor that the source does not have, where types are those of the source; F32 when absent. */
  readonly dtype?: FloatDtype;
}

export interface ExportRequest {
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
}

/** What belongs to a model besides its weights and config: tokenizer, generation settings, own code, licence. */
const COMPANION =
  /^(tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|generation_config\.json|chat_template.*|preprocessor_config\.json|processor_config\.json|.+\.(model|tiktoken|py)|(licen[cs]e|notice)(\..*)?)$/i;

/** Names in `torch_dtype` of config.json. */
const TORCH_DTYPE = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' } as const;

/**
 * Writes a model folder in the Hugging Face layout, ready to be loaded elsewhere: weights (sharded above a size, with
 * an index), config.json, and tokenizer and companion files of the source. It is written beside `out`, reopened and
 * compared with the checksums taken while writing, and only then given its name.
 * @returns the files, with size and SHA-256
 * @throws UserError `export/exists`, `/non-finite` (naming the tensor), `/disk-full`, `/not-writable`,
 *   `/write-failed` or `/not-verified`; nothing is then left behind
 */
export async function exportHfFolder(request: ExportRequest): Promise<readonly FileDigest[]> {
  const { source, out, additions, extraFiles = new Map<string, string | Uint8Array>() } = request;
  const { fileSystem: fs = diskFileSystem } = request;
  if (existsSync(out) && !(statSync(out).isDirectory() && readdirSync(out).length === 0)) {
    throw new UserError('export/exists', `${out} exists and is not an empty folder.`, 'Choose another name.');
  }
  const partial = `${out}.partial`;
  try {
    fs.remove(partial);
    fs.makeFolder(partial);
    const files = writeWeights(request, partial, fs);
    const write = (name: string, content: string | Uint8Array): void => {
      invariant(!/[/\\]/.test(name), `export: ${name} is not a plain file name`);
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      files.push(writeDurably(fs, join(partial, name), [bytes]));
    };
    write('config.json', `${JSON.stringify(exportConfig(request), null, 2)}\n`);
    if (additions !== undefined) {
      const { tensors, metadata } = additions;
      files.push(writeSafetensors(join(partial, ADDITIONS_FILE), tensors, { metadata, fileSystem: fs }));
    } else if (source.additions !== null) {
      write(ADDITIONS_FILE, readFileSync(source.additions.file));
    }
    for (const name of readdirSync(source.dir).filter(
      (name) => COMPANION.test(name) && !extraFiles.has(name),
    )) {
      if (!statSync(join(source.dir, name)).isFile()) continue;
      checkInside(source.dir, name);
      write(name, readFileSync(join(source.dir, name)));
    }
    for (const [name, content] of extraFiles) write(name, content);
    fs.syncFolder(partial);
    await verify(partial, files, exportedTensors(request).length);
    fs.remove(out);
    fs.rename(partial, out);
    return files;
  } catch (error) {
    fs.remove(partial);
    throw writeError(error, 'export', out);
  }
}

/** The configuration of the source with what differs; everything else is written as it was. */
function exportConfig({ source, dtype, config }: ExportRequest): Readonly<Record<string, unknown>> {
  const key = 'dtype' in source.config && !('torch_dtype' in source.config) ? 'dtype' : 'torch_dtype';
  const written = keepNumbers(readFileSync(join(source.dir, 'config.json'), 'utf8'));
  return { ...written, ...(dtype === 'source' ? {} : { [key]: TORCH_DTYPE[dtype] }), ...config };
}

/** Every tensor of the export, with data made on demand. */
function exportedTensors({ source, tensors, dtype, omit }: ExportRequest): readonly NamedTensor[] {
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

/** The smallest magnitude that rounds to infinity, by element type. */
const OVERFLOW = { F32: Infinity, BF16: 2 ** 128 * (1 - 2 ** -9), F16: 65520 } as const;

function encodeFinite(name: string, values: Float32Array, dtype: FloatDtype): Uint8Array {
  const bad = findNotBelow(values, OVERFLOW[dtype]);
  if (bad < 0) return encodeFloats(values, dtype);
  throw new UserError(
    'export/non-finite',
    `Tensor ${name} holds ${values[bad]} at position ${bad}, which ${dtype} cannot store as a finite number.`,
    Number.isFinite(values[bad]) ? 'Export as BF16 or F32.' : 'Export an earlier checkpoint.',
  );
}

/** Writes model.safetensors, or numbered shards with their index. */
function writeWeights(request: ExportRequest, folder: string, fs: WritableFileSystem): FileDigest[] {
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
  const options = { metadata: { format: 'pt' }, fileSystem: fs };
  if (shards.length === 1)
    return [writeSafetensors(join(folder, 'model.safetensors'), shards[0] ?? [], options)];
  const digits = (n: number): string => String(n).padStart(5, '0');
  const weightMap: Record<string, string> = {};
  const files = shards.map((tensors, i) => {
    const name = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
    for (const tensor of tensors) weightMap[tensor.name] = name;
    return writeSafetensors(join(folder, name), tensors, options);
  });
  const index = { metadata: { total_size: totalBytes }, weight_map: weightMap };
  const text = new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
  return [...files, writeDurably(fs, join(folder, 'model.safetensors.index.json'), [text])];
}

/** Reopens what was written and compares it with the digests taken while writing. */
async function verify(folder: string, files: readonly FileDigest[], tensors: number): Promise<void> {
  const model = await openModelFolder(folder);
  model.close();
  invariant(
    model.tensors.size === tensors,
    `export: ${model.tensors.size} of ${tensors} tensors were found again`,
  );
  for (const { name, bytes, sha256 } of files) {
    const found = digestFile(join(folder, name));
    if (found.bytes !== bytes || found.sha256 !== sha256) {
      throw new UserError(
        'export/not-verified',
        `${join(folder, name)} does not read back as it was written.`,
        'Check the disk, or export to another one.',
      );
    }
  }
}
