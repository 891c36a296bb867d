/** What every folder that is written for use elsewhere has in common. */
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError, invariant } from '#core/contract/errors.ts';
import type { ExportProgress } from '#core/contract/run-export.ts';
import { OVERFLOW, STORED_DTYPES, findNotBelow, encodeFloats, type FloatDtype } from './dtype.ts';
import {
  digestFile,
  diskFileSystem,
  writeDurably,
  writeError,
  type FileDigest,
  type WritableFileSystem,
} from './file-system.ts';
import { keepNumbers, type JsonObject } from './json-file.ts';
import { checkInside, type ModelFolder } from './model-folder.ts';

/** What belongs to a model besides its weights and config: tokenizer, generation settings, own code, licence. */
const COMPANION =
  /^(tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|generation_config\.json|chat_template.*|preprocessor_config\.json|processor_config\.json|.+\.(model|tiktoken|py)|(licen[cs]e|notice)(\..*)?)$/i;

/** A folder that is being written. */
export interface NewFolder {
  readonly path: string;
  /** Counts what is written. */
  readonly fileSystem: WritableFileSystem;
  /** What was written so far. */
  readonly files: FileDigest[];
  /** Writes a file by its plain name. */
  readonly write: (name: string, content: string | Uint8Array) => void;
  /** Says how many bytes of weights there will be. */
  readonly expect: (bytes: number) => void;
}

/** How a folder is written. */
export interface FolderOptions {
  readonly fileSystem?: WritableFileSystem | undefined;
  readonly onProgress?: ((progress: ExportProgress) => void) | undefined;
}

/** Where the folder `out` is filled; what ends the program leaves it. */
export function partialFolder(out: string): string {
  return `${out}.partial`;
}

/**
 * Makes the folder `out`, which appears whole or not at all: it is filled beside it, compared with the checksums taken while
 * writing, and then given its name.
 * @param fill writes the files; what it throws leaves nothing behind.
 * @throws UserError `export/exists`, `/disk-full`, `/not-writable`, `/write-failed` or `/not-verified`.
 */
export async function writeNewFolder(
  out: string,
  fill: (folder: NewFolder) => Promise<void> | void,
  { fileSystem: disk = diskFileSystem, onProgress }: FolderOptions = {},
): Promise<readonly FileDigest[]> {
  if (existsSync(out) && !(statSync(out).isDirectory() && readdirSync(out).length === 0)) {
    throw new UserError('export/exists', `${out} exists and is not an empty folder.`, 'Choose another name.');
  }
  const path = partialFolder(out);
  const progress = { written: 0, of: 0 };
  const fileSystem: WritableFileSystem = {
    ...disk,
    write: (descriptor, data) => {
      const bytes = disk.write(descriptor, data);
      progress.written += bytes;
      onProgress?.({ ...progress });
      return bytes;
    },
  };
  const expect = (bytes: number): void => {
    progress.of = bytes;
  };
  try {
    fileSystem.remove(path);
    fileSystem.makeFolder(path);
    const files: FileDigest[] = [];
    const write = (name: string, content: string | Uint8Array): void => {
      invariant(!/[/\\]/.test(name), `export: ${name} is not a plain file name`);
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      files.push(writeDurably(fileSystem, join(path, name), [bytes]));
    };
    await fill({ path, fileSystem, files, write, expect });
    fileSystem.syncFolder(path);
    compareDigests(path, files);
    fileSystem.remove(out);
    fileSystem.rename(path, out);
    return files;
  } catch (error) {
    fileSystem.remove(path);
    throw writeError(error, 'export', out);
  }
}

/** Compares files with the digests taken while writing. */
function compareDigests(folder: string, files: readonly FileDigest[]): void {
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

/** Writes the configuration of the source with what differs; everything else is written as it was. */
export function writeConfig(
  folder: NewFolder,
  source: ModelFolder,
  dtype: FloatDtype | 'source',
  changed?: JsonObject,
): void {
  const key = 'dtype' in source.config && !('torch_dtype' in source.config) ? 'dtype' : 'torch_dtype';
  const written = keepNumbers(readFileSync(join(source.dir, 'config.json'), 'utf8'));
  const config = { ...written, ...(dtype === 'source' ? {} : { [key]: STORED_DTYPES[dtype] }), ...changed };
  folder.write('config.json', `${JSON.stringify(config, null, 2)}\n`);
}

/** Copies the companion files of a model. @param extraFiles further files, by plain name, in place of those of the same name. */
export function writeCompanions(
  folder: NewFolder,
  source: ModelFolder,
  extraFiles: ReadonlyMap<string, string | Uint8Array>,
): void {
  for (const name of readdirSync(source.dir)) {
    if (!COMPANION.test(name) || extraFiles.has(name) || !statSync(join(source.dir, name)).isFile()) continue;
    checkInside(source.dir, name);
    folder.write(name, readFileSync(join(source.dir, name)));
  }
  for (const [name, content] of extraFiles) folder.write(name, content);
}

/** Bytes of a tensor. @throws UserError `export/non-finite` naming it, where they are no finite numbers. */
export function encodeFinite(name: string, values: Float32Array, dtype: FloatDtype): Uint8Array {
  const bad = findNotBelow(values, OVERFLOW[dtype]);
  if (bad < 0) return encodeFloats(values, dtype);
  throw new UserError(
    'export/non-finite',
    `Tensor ${name} holds ${values[bad]} at position ${bad}, which ${dtype} cannot store as a finite number.`,
    Number.isFinite(values[bad]) ? 'Export as BF16 or F32.' : 'Export an earlier checkpoint.',
  );
}
