/** What the readers of all file formats share: a row, its limits, and reading a file in blocks. */
import type { FileHandle } from 'node:fs/promises';
import { UserError } from '#core/contract/errors.ts';

/** One row of a data file. */
export interface SourceRow {
  /** 1-based; in JSON Lines the line number, in CSV the record number without the header. */
  readonly row: number;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Called for a row that can't be read; reading goes on with the next. */
export type OnBadRow = (row: number, error: UserError) => void;

/** What every row reader needs to know. */
export interface RowReader {
  /** File name, for messages. */
  readonly name: string;
  readonly onBadRow: OnBadRow | undefined;
}

/** Longest row accepted, in bytes: more is nearly always a file in the wrong format, and would need gigabytes to tokenize. */
export const MAX_ROW_BYTES = 8 * 1024 * 1024;

/** The error for a row beyond {@link MAX_ROW_BYTES}; `where` names file and row. */
export function rowTooLong(where: string): UserError {
  return new UserError(
    'data/row-too-long',
    `${where} is longer than ${MAX_ROW_BYTES / 2 ** 20} MiB`,
    'Split long documents into several rows. In CSV, look for a quotation mark that is never closed; a file without line breaks is not JSON Lines.',
  );
}

// A mark of byte order inside a file is text.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `bytes` as text; `where` names file and row. @throws UserError `data/not-utf8`, where other encodings would be read as wrong letters. */
export function decodeText(bytes: Uint8Array, where: string): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new UserError(
      'data/not-utf8',
      `${where} is not UTF-8 text`,
      'Save the file as UTF-8; spreadsheets call that "CSV UTF-8".',
      { cause },
    );
  }
}

/** Yields a file's bytes from `position` on, in blocks of 1 MiB. */
export async function* readBlocks(handle: FileHandle, position = 0): AsyncGenerator<Buffer> {
  for (let at = position; ;) {
    const block = Buffer.allocUnsafe(1 << 20);
    const { bytesRead } = await handle.read(block, 0, block.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield block.subarray(0, bytesRead);
  }
}
