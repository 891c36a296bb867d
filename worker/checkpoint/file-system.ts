import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { systemCode, type JsonObject } from './json-file.ts';

/** The changes that checkpoints and exports make on disk; tests put a failing one in its place. */
export interface WritableFileSystem {
  /** Creates or empties a file and returns its descriptor. */
  readonly create: (path: string) => number;
  /** Writes some or all of `data` and returns how many bytes. */
  readonly write: (descriptor: number, data: Uint8Array) => number;
  readonly sync: (descriptor: number) => void;
  readonly close: (descriptor: number) => void;
  /** Creates a folder and the ones above it; one that exists is left. */
  readonly makeFolder: (path: string) => void;
  /** Makes the entries of a folder durable. */
  readonly syncFolder: (path: string) => void;
  readonly rename: (from: string, to: string) => void;
  /** Removes a file or a folder with its content; nothing there is fine. */
  readonly remove: (path: string) => void;
}

/** The real file system. */
export const diskFileSystem: WritableFileSystem = {
  create: (path) => openSync(path, 'w'),
  write: (descriptor, data) => writeSync(descriptor, data),
  sync: fsyncSync,
  close: closeSync,
  makeFolder: (path) => {
    mkdirSync(path, { recursive: true });
  },
  syncFolder: (path) => {
    if (process.platform === 'win32') return; // Windows does not open folders as files; NTFS journals the entries.
    const descriptor = openSync(path, 'r');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  },
  rename: renameSync,
  remove: (path) => {
    rmSync(path, { recursive: true, force: true });
  },
};

/** A written file: its name, size, and SHA-256 in hexadecimal. */
export interface FileDigest {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Bytes read or written, and hashed, at a time. */
const CHUNK = 16 * 2 ** 20;

/** Writes a file from its parts, makes it durable (fsync), and returns its digest. */
export function writeDurably(fs: WritableFileSystem, path: string, parts: Iterable<Uint8Array>): FileDigest {
  const hash = createHash('sha256');
  let bytes = 0;
  const descriptor = fs.create(path);
  try {
    for (const part of parts) {
      for (let begin = 0; begin < part.length; begin += CHUNK) {
        const chunk = part.subarray(begin, begin + CHUNK);
        hash.update(chunk);
        for (let rest = chunk; rest.length > 0;) rest = rest.subarray(fs.write(descriptor, rest));
      }
      bytes += part.length;
    }
    fs.sync(descriptor);
  } finally {
    fs.close(descriptor);
  }
  return { name: basename(path), bytes, sha256: hash.digest('hex') };
}

/** Reads a file through and returns its digest. Throws what the system throws. */
export function digestFile(path: string): FileDigest {
  const hash = createHash('sha256');
  const chunk = new Uint8Array(CHUNK);
  let bytes = 0;
  const descriptor = openSync(path, 'r');
  try {
    for (let count = 0; (count = readSync(descriptor, chunk)) > 0; bytes += count) {
      hash.update(chunk.subarray(0, count));
    }
  } finally {
    closeSync(descriptor);
  }
  return { name: basename(path), bytes, sha256: hash.digest('hex') };
}

/**
 * A failed write as a UserError: `<area>/disk-full`, `<area>/not-writable`, or `<area>/write-failed` for what else the
 * system may answer. Errors that are not the system's are returned as they are.
 */
export function writeError(error: unknown, area: string, path: string): unknown {
  const code = systemCode(error);
  if (error instanceof UserError || code === undefined || !/^E[A-Z]+$/.test(code)) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new UserError(
      `${area}/disk-full`,
      `${path} could not be written: the disk is full${code === 'EDQUOT' ? ' (quota)' : ''}.`,
      'Free some space, or keep fewer checkpoints.',
      { cause: error },
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new UserError(
      `${area}/not-writable`,
      `${path} could not be written: no permission (${code}).`,
      'Choose another folder or change its permissions.',
      { cause: error },
    );
  }
  return new UserError(
    `${area}/write-failed`,
    `${path} could not be written: the system answered ${code}.`,
    'Check the disk.',
    { cause: error },
  );
}

/**
 * Writes an indented JSON file, durably.
 * @param area first part of the error codes
 * @throws UserError when the disk refuses
 */
export function writeJsonObject(path: string, area: string, value: JsonObject): void {
  try {
    writeDurably(diskFileSystem, path, [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)]);
  } catch (error) {
    throw writeError(error, area, path);
  }
}
