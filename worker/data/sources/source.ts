/** Opens a data file: recognises what it is from its bytes and name, and streams its rows. */
import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { csvColumns, readCsv } from './source-csv.ts';
import { openParquet } from './source-parquet.ts';
import { jsonRows, jsonlRows } from './source-json.ts';
import { readBlocks } from './source-row.ts';
import type { OnBadRow, SourceRow } from './source-row.ts';

/** Formats that can be read, each by its ending or its content. */
export type FileFormat = 'jsonl' | 'json' | 'csv' | 'tsv' | 'parquet';

/** A data file that can be read any number of times, a row at a time. */
export interface Source {
  readonly path: string;
  readonly format: FileFormat;
  /** Names found in the header, the schema or the first rows. */
  readonly columns: readonly string[];
  readonly bytes: number;
  /** Hex digest of the whole file; read through at the first call. */
  sha256(): Promise<string>;
  /**
   * @param onBadRow instead of the one the source was opened with.
   * @throws UserError naming file and row for a row that can't be read, when there is no `onBadRow`.
   */
  rows(onBadRow?: OnBadRow): AsyncGenerator<SourceRow>;
  close(): Promise<void>;
}

const SUPPORTED = 'JSON Lines (.jsonl), JSON (.json), CSV (.csv), TSV (.tsv) and Parquet (.parquet)';

const SIGNATURES: readonly (readonly [bytes: readonly number[], name: string, hint: string])[] = [
  [[0x50, 0x4b, 0x03, 0x04], 'a zip archive (or an Excel workbook)', 'Unpack it, or save the sheet as CSV.'],
  [[0x1f, 0x8b], 'a gzip archive', 'Unpack it first (gunzip).'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'a zstd archive', 'Unpack it first (unzstd).'],
  [[0x42, 0x5a, 0x68], 'a bzip2 archive', 'Unpack it first (bunzip2).'],
  [[0x25, 0x50, 0x44, 0x46], 'a PDF document', 'Extract its text into one of the supported formats.'],
  [[0x41, 0x52, 0x52, 0x4f, 0x57, 0x31], 'an Arrow file', 'Save the table as Parquet.'],
  [[0x53, 0x51, 0x4c, 0x69, 0x74, 0x65, 0x20], 'an SQLite database', 'Export the table as CSV.'],
  [[0xff, 0xfe], 'UTF-16 text', 'Save it as UTF-8.'],
  [[0xfe, 0xff], 'UTF-16 text', 'Save it as UTF-8.'],
];

const startsWith = (head: Buffer, bytes: readonly number[]): boolean =>
  head.length >= bytes.length && bytes.every((byte, index) => head[index] === byte);

/** Decides the format from the first bytes, with the extension as a witness. */
function sniff(file: string, head: Buffer): FileFormat {
  const name = path.basename(file);
  const extension = path.extname(file).toLowerCase();
  if (startsWith(head, [0x50, 0x41, 0x52, 0x31])) return 'parquet';
  const binary = (what: string, hint: string) =>
    new UserError('data/unsupported-format', `${name} is ${what}; expected ${SUPPORTED}`, hint);
  for (const [bytes, what, hint] of SIGNATURES) if (startsWith(head, bytes)) throw binary(what, hint);
  if (head.includes(0)) throw binary('a binary file', 'Convert it to one of these formats.');
  if (extension === '.parquet' || extension === '.pq') {
    throw new UserError(
      'data/parquet-damaged',
      `${name} is not a Parquet file: it doesn't start with "PAR1"`,
      'Download or export the file again.',
    );
  }
  const text = head.toString('utf8').replace(/^\uFEFF/, '');
  const first = text.trimStart()[0];
  if (extension === '.csv') return 'csv';
  if (extension === '.tsv') return 'tsv';
  if (extension === '.jsonl' || extension === '.ndjson') return first === '[' ? 'json' : 'jsonl';
  if (first === '[') return 'json';
  if (first === '{') return looksLikeLines(text) || extension === '' ? 'jsonl' : 'json';
  throw new UserError(
    'data/unsupported-format',
    `${name}: the format was not recognised${extension === '' ? '' : ` (extension "${extension}")`}; expected ${SUPPORTED}`,
    'Rename the file if only its extension is wrong; put plain text into a JSON Lines file, one {"text": …} a line.',
  );
}

/** A file called .json that holds one object a line is JSON Lines. */
function looksLikeLines(text: string): boolean {
  const [line = '', next] = text.split('\n').filter((part) => part.trim() !== '');
  if (next === undefined || !next.trimStart().startsWith('{')) return false;
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false; // only asked whether the line stands alone
  }
}

async function openFile(file: string): Promise<{ handle: FileHandle; bytes: number }> {
  const name = path.basename(file);
  let info;
  try {
    info = await stat(file);
  } catch (cause) {
    throw new UserError('data/not-found', `${file}: no such file`, 'Check the path.', { cause });
  }
  if (info.isDirectory()) {
    throw new UserError(
      'data/is-directory',
      `${file} is a folder; expected a file`,
      'Name the data files themselves.',
    );
  }
  if (info.size === 0) throw new UserError('data/empty-file', `${name} is empty`, 'Export the data again.');
  try {
    return { handle: await open(file, 'r'), bytes: info.size };
  } catch (cause) {
    throw new UserError(
      'data/unreadable',
      `${file} can't be opened: ${cause instanceof Error ? cause.message : String(cause)}`,
      'Check the permissions of the file.',
      { cause },
    );
  }
}

/**
 * Opens a data file.
 * @throws UserError `data/…` when it is missing, empty, a folder, binary, or in no supported format.
 */
export async function openSource(file: string, options: { onBadRow?: OnBadRow } = {}): Promise<Source> {
  const { handle, bytes } = await openFile(file);
  try {
    const head = Buffer.alloc(Math.min(bytes, 1 << 16));
    await handle.read(head, 0, head.length, 0);
    const format = sniff(file, head);
    const name = path.basename(file);
    const textStart = startsWith(head, [0xef, 0xbb, 0xbf]) ? 3 : 0;
    const blocks = () => readBlocks(handle, textStart);
    let read: (onBadRow: OnBadRow | undefined) => AsyncGenerator<SourceRow>;
    let columns: readonly string[] | undefined;
    switch (format) {
      case 'jsonl':
        read = (onBadRow) => jsonlRows(blocks(), { name, onBadRow });
        break;
      case 'json':
        read = (onBadRow) => jsonRows(blocks(), { name, onBadRow });
        break;
      case 'csv':
      case 'tsv': {
        const table = { name, head: head.subarray(textStart).toString('utf8'), tabs: format === 'tsv' };
        columns = await csvColumns(blocks(), table);
        read = (onBadRow) => readCsv(blocks(), { ...table, onBadRow });
        break;
      }
      case 'parquet': {
        const parquet = await openParquet(handle, bytes, name);
        columns = parquet.columns;
        read = parquet.rows;
        break;
      }
    }
    columns ??= await columnsOfFirstRows(read);
    let digest: Promise<string> | undefined;
    return {
      path: file,
      format,
      columns,
      bytes,
      sha256: () => (digest ??= hashFile(handle)),
      rows: (onBadRow = options.onBadRow) => read(onBadRow),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function hashFile(handle: FileHandle): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of readBlocks(handle)) hash.update(block);
  return hash.digest('hex');
}

/** Rows that can't be read are left to whoever reads the rows; only a file that is no data file at all is refused here. */
async function columnsOfFirstRows(
  read: (onBadRow: OnBadRow) => AsyncGenerator<SourceRow>,
): Promise<string[]> {
  const columns = new Set<string>();
  let count = 0;
  for await (const { value } of read(() => undefined)) {
    for (const key of Object.keys(value)) columns.add(key);
    if (++count === 50) break;
  }
  return [...columns];
}
