import { createHash } from 'node:crypto';
import { createReadStream, existsSync, realpathSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import { isObject, readJsonObject, systemCode, type JsonObject } from './json-file.ts';
import { SafetensorsFile, type TensorSource } from './safetensors.ts';
import type { TensorEntry } from './safetensors-header.ts';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** What a method added to the model and the published layout has no place for; only this program reads it. */
export const ADDITIONS_FILE = 'condenser_additions.safetensors';

/** A model in the Hugging Face layout, open for reading: `config.json` and one safetensors file or several shards. */
export class ModelFolder implements TensorSource {
  readonly dir: string;
  readonly config: JsonObject;
  /** Weights, by their published names. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The file of additions; null: there is none. */
  readonly additions: SafetensorsFile | null;
  /** The files that make up the model (config, index, weights, additions), by name. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** Bytes of all tensors, additions included. */
  readonly totalBytes: number;
  /** The open weight files, by path. */
  readonly #shards: ReadonlyMap<string, SafetensorsFile>;

  constructor(dir: string, config: JsonObject, layout: FolderLayout) {
    this.dir = dir;
    this.config = config;
    this.tensors = layout.tensors;
    this.additions = layout.additions;
    const opened = [...layout.shards, ...(layout.additions === null ? [] : [layout.additions])];
    this.#shards = new Map(opened.map((shard) => [shard.file, shard]));
    const names = ['config.json', ...layout.indexFiles, ...opened.map((shard) => basename(shard.file))];
    this.files = names.sort().map((name) => ({ name, bytes: statSync(join(dir, name)).size }));
    const entries = [...this.tensors.values(), ...(layout.additions?.tensors.values() ?? [])];
    this.totalBytes = entries.reduce((sum, { begin, end }) => sum + end - begin, 0);
  }

  #shard(name: string): SafetensorsFile {
    const entry = this.tensors.get(name) ?? this.additions?.tensors.get(name);
    const shard = this.#shards.get(entry?.file ?? '');
    invariant(shard, `${this.dir} has no tensor ${name}`);
    return shard;
  }

  readInto(name: string, target: Uint8Array, from?: number): void {
    this.#shard(name).readInto(name, target, from);
  }

  /** All bytes of a tensor in a fresh array. */
  read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve) => {
      resolve(this.#shard(name).read(name));
    });
  }

  /** SHA-256 over the names and contents of `files`: equal for equal models wherever they lie. Reads everything. */
  async sha256(): Promise<string> {
    const all = createHash('sha256');
    for (const { name } of this.files) {
      const one = createHash('sha256');
      for await (const chunk of createReadStream(join(this.dir, name), { highWaterMark: 2 ** 20 })) {
        one.update(chunk as Uint8Array);
      }
      all.update(`${one.digest('hex')}  ${name}\n`);
    }
    return all.digest('hex');
  }

  close(): void {
    for (const shard of this.#shards.values()) shard.close();
  }
}

/**
 * Opens a model folder and checks that every tensor it names is there in full. The caller closes it.
 *
 * Weights are `model.safetensors`, or else the shards that `model.safetensors.index.json` names: each tensor is taken
 * from the shard the index gives, and tensors of a shard that the index leaves out are not part of the model. Shards
 * are plain file names inside the folder. A symbolic link must end inside the folder as well, with one exception: the
 * Hugging Face cache keeps `models--…/snapshots/<revision>/` as links into `models--…/blobs/`. Additions lie in a file of
 * their own, `condenser_additions.safetensors`.
 * @throws UserError `model/…` or `safetensors/…`, naming file and tensor
 */
export async function openModelFolder(dir: string): Promise<ModelFolder> {
  await checkFolder(dir);
  const configPath = join(dir, 'config.json');
  if (existsSync(configPath)) checkInside(dir, 'config.json');
  const config = readJsonObject(configPath, 'model/config');
  const weights = existsSync(join(dir, SINGLE)) ? openSingle(dir) : openSharded(dir);
  try {
    return new ModelFolder(dir, config, { ...weights, additions: openAdditions(dir) });
  } catch (error) {
    for (const shard of weights.shards) shard.close();
    throw error;
  }
}

function openAdditions(dir: string): SafetensorsFile | null {
  if (!existsSync(join(dir, ADDITIONS_FILE))) return null;
  checkInside(dir, ADDITIONS_FILE);
  return new SafetensorsFile(join(dir, ADDITIONS_FILE));
}

/** Refuses what is not a folder, or cannot be looked into. */
async function checkFolder(dir: string): Promise<void> {
  const hint = 'Choose the folder that holds config.json.';
  try {
    if ((await stat(dir)).isDirectory()) return;
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw new UserError('model/folder-unreadable', `${dir} cannot be read: ${code}.`, hint, {
        cause: error,
      });
    }
  }
  throw new UserError('model/folder-missing', `${dir} is not a folder.`, hint);
}

interface WeightLayout {
  readonly shards: readonly SafetensorsFile[];
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly indexFiles: readonly string[];
}

interface FolderLayout extends WeightLayout {
  readonly additions: SafetensorsFile | null;
}

function openSingle(dir: string): WeightLayout {
  checkInside(dir, SINGLE);
  const file = new SafetensorsFile(join(dir, SINGLE));
  return { shards: [file], tensors: file.tensors, indexFiles: [] };
}

function openSharded(dir: string): WeightLayout {
  const indexPath = join(dir, INDEX);
  if (!existsSync(indexPath)) {
    throw new UserError(
      'model/weights-missing',
      `${dir} holds neither ${SINGLE} nor ${INDEX}.`,
      'Only safetensors weights are read: convert others (.bin, .pt, .gguf) first.',
    );
  }
  checkInside(dir, INDEX);
  const { weight_map: map } = readJsonObject(indexPath, 'model/index', { uniqueKeys: true });
  if (!isObject(map)) throw indexError(indexPath, 'has no object "weight_map"');
  const shards = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, TensorEntry>();
  try {
    for (const [name, fileName] of Object.entries(map)) {
      if (typeof fileName !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(fileName)) {
        throw indexError(
          indexPath,
          `places tensor ${JSON.stringify(name)} in ${JSON.stringify(fileName)}, which is not a plain .safetensors file name`,
        );
      }
      let shard = shards.get(fileName);
      if (!shard) {
        if (!existsSync(join(dir, fileName))) {
          throw new UserError(
            'model/shard-missing',
            `${indexPath} names ${fileName} for tensor ${JSON.stringify(name)}, but ${dir} has no such file.`,
            'Download the missing file.',
          );
        }
        checkInside(dir, fileName);
        shard = new SafetensorsFile(join(dir, fileName));
        shards.set(fileName, shard);
      }
      const entry = shard.tensors.get(name);
      if (!entry)
        throw indexError(indexPath, `places tensor ${JSON.stringify(name)} in ${fileName}, which lacks it`);
      tensors.set(name, entry);
    }
  } catch (error) {
    for (const shard of shards.values()) shard.close();
    throw error;
  }
  return { shards: [...shards.values()], tensors, indexFiles: [INDEX] };
}

function indexError(indexPath: string, reason: string): UserError {
  return new UserError(
    'model/index-invalid',
    `${indexPath} ${reason}.`,
    'Download the index and the weight files again, from one revision.',
  );
}

/** Refuses a file that is a link to somewhere outside the folder (or outside the blobs of a Hugging Face cache). */
export function checkInside(dir: string, fileName: string): void {
  const folder = realpathSync(dir);
  const target = realpathSync(join(dir, fileName));
  const roots = [folder];
  if (basename(dirname(folder)) === 'snapshots') roots.push(join(dirname(dirname(folder)), 'blobs'));
  const isInside = roots.some((root) => {
    const path = relative(root, target);
    return path !== '' && path !== '..' && !path.startsWith(`..${sep}`) && path !== target;
  });
  if (!isInside) {
    throw new UserError(
      'model/link-outside',
      `${join(dir, fileName)} is a link to ${target}, outside the model folder.`,
      'Copy the file into the folder.',
    );
  }
}
