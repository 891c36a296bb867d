import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { UserError, invariant } from '#core/contract/errors.ts';
import { diskFileSystem, writeDurably, type FileDigest, type WritableFileSystem } from './file-system.ts';
import { systemCode } from './json-file.ts';
import {
  LENGTH_BYTES,
  byLayout,
  formatHeader,
  parseHeader,
  parseHeaderLength,
  tensorBytes,
  truncated,
  type TensorEntry,
  type TensorInfo,
} from './safetensors-header.ts';

/** Named tensors that can be read one by one: a safetensors file, or a model folder of several. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /**
   * Reads bytes of a tensor into `target` (which may lie in an arena), from byte `from` of the tensor on (default 0)
   * as far as `target` goes. Without `from`, `target` must have the tensor's size.
   */
  readInto(name: string, target: Uint8Array, from?: number): void;
}

/** A tensor to be written. `data` may be a function, called when the tensor's turn comes, so that only one is in memory. */
export interface NamedTensor extends TensorInfo {
  readonly data: Uint8Array | (() => Uint8Array);
}

/** The most one read call is asked for; the system's own limit is just below 2 GiB. */
const READ_CHUNK = 2 ** 30;

/** An open safetensors file. Its header has been checked; tensors are read from disk on demand. */
export class SafetensorsFile implements TensorSource {
  readonly file: string;
  readonly bytes: number;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #descriptor: number;
  #open = true;

  /** @throws UserError `safetensors/…` naming file and tensor when the file is not a complete safetensors file. */
  constructor(file: string) {
    this.file = file;
    this.#descriptor = openFile(file);
    try {
      this.bytes = fstatSync(this.#descriptor).size;
      if (this.bytes < LENGTH_BYTES) {
        throw this.bytes === 0
          ? new UserError('safetensors/empty', `${file} is empty.`, 'Download or copy the file again.')
          : truncated(file, LENGTH_BYTES, this.bytes);
      }
      const headerBytes = parseHeaderLength(this.#read(0, LENGTH_BYTES), this.bytes, file);
      const header = parseHeader(this.#read(LENGTH_BYTES, headerBytes), this.bytes, file);
      this.tensors = header.tensors;
      this.metadata = header.metadata;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #read(position: number, bytes: number): Uint8Array<ArrayBuffer> {
    const target = new Uint8Array(bytes);
    this.#fill(target, position);
    return target;
  }

  #fill(target: Uint8Array, position: number): void {
    invariant(this.#open, `${this.file} is closed`);
    for (let done = 0; done < target.length;) {
      const length = Math.min(READ_CHUNK, target.length - done);
      let count: number;
      try {
        count = readSync(this.#descriptor, target, done, length, position + done);
      } catch (error) {
        throw readError(error, this.file);
      }
      if (count === 0) throw truncated(this.file, position + target.length, position + done);
      done += count;
    }
  }

  readInto(name: string, target: Uint8Array, from?: number): void {
    const entry = this.tensors.get(name);
    invariant(entry, `${this.file} has no tensor ${name}`);
    const size = entry.end - entry.begin;
    invariant(
      from === undefined ? target.length === size : from >= 0 && from + target.length <= size,
      `${name} has ${size} bytes; ${target.length} from byte ${from ?? 0} on were asked for`,
    );
    this.#fill(target, entry.begin + (from ?? 0));
  }

  /** All bytes of a tensor in a fresh array. */
  read(name: string): Uint8Array<ArrayBuffer> {
    const entry = this.tensors.get(name);
    invariant(entry, `${this.file} has no tensor ${name}`);
    return this.#read(entry.begin, entry.end - entry.begin);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#descriptor);
  }
}

/** Opens a safetensors file; see `SafetensorsFile`. The caller closes it. */
export function readSafetensors(file: string): SafetensorsFile {
  return new SafetensorsFile(file);
}

/** Opens a regular file; anything else (a pipe would block) is refused before. */
function openFile(file: string): number {
  try {
    if (!statSync(file).isFile()) {
      throw new UserError(
        'safetensors/not-a-file',
        `${file} is not a file.`,
        'Give the path of a .safetensors file.',
      );
    }
    return openSync(file, 'r');
  } catch (error) {
    throw readError(error, file);
  }
}

/** A failed system call as a UserError; other errors are returned as they are. */
function readError(error: unknown, file: string): unknown {
  const code = systemCode(error);
  if (error instanceof UserError || code === undefined) return error;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new UserError('safetensors/missing', `${file} does not exist.`, undefined, { cause: error });
  }
  const hint = 'Check the disk, and that you may read the file.';
  return new UserError('safetensors/unreadable', `${file} cannot be read: ${code}.`, hint, { cause: error });
}

/** How `writeSafetensors` and the sharded writer store a set of tensors. */
export interface WriteOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fileSystem?: WritableFileSystem;
}

/**
 * Writes a safetensors file, tensor by tensor, and makes it durable. Not atomic: write into a folder or a name that
 * readers ignore, then rename.
 * @returns name, size and SHA-256 of the file
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<NamedTensor>,
  { metadata = {}, fileSystem = diskFileSystem }: WriteOptions = {},
): FileDigest {
  const inOrder = [...tensors].sort(byLayout);
  function* parts(): Generator<Uint8Array> {
    yield formatHeader(inOrder, metadata);
    for (const { name, dtype, shape, data } of inOrder) {
      const bytes = typeof data === 'function' ? data() : data;
      const expected = tensorBytes(dtype, shape);
      invariant(
        bytes.length === expected,
        `${name}: ${bytes.length} bytes given, its shape needs ${expected}`,
      );
      yield bytes;
    }
  }
  return writeDurably(fileSystem, path, parts());
}
