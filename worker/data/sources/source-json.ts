/** Streaming readers for JSON Lines and for JSON files that hold an array of rows. */
import { UserError } from '#core/contract/errors.ts';
import { decodeText, MAX_ROW_BYTES, rowTooLong } from './source-row.ts';
import type { RowReader, SourceRow } from './source-row.ts';

/** Where the rows may be when the top of a JSON file is an object. */
const ROW_KEYS: ReadonlySet<string> = new Set(['data', 'train', 'rows']);

const LINE_FEED = 0x0a;
const CHAR = { quote: 0x22, backslash: 0x5c, comma: 0x2c, colon: 0x3a } as const;
const isOpening = (byte: number) => byte === 0x7b || byte === 0x5b;
const isClosing = (byte: number) => byte === 0x7d || byte === 0x5d;
const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const formatRow = (row: number) => row.toLocaleString('en-US');

function parseRow(bytes: Uint8Array, row: number, name: string): SourceRow {
  const where = `${name}: row ${formatRow(row)}`;
  const text = decodeText(bytes, where);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const shown = text.trim().slice(0, 60);
    throw new UserError(
      'data/malformed-row',
      `${where} is not valid JSON (${why}): ${shown}${text.length > 60 ? '…' : ''}`,
      'Correct or delete this row; each row must be one complete JSON object.',
      { cause },
    );
  }
  if (typeof value === 'string') return { row, value: { text: value } };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const found = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`;
    throw new UserError(
      'data/not-an-object',
      `${where} is ${found}; expected an object with named fields`,
      'Write each row as {"field": "text", …}.',
    );
  }
  return { row, value: { ...value } };
}

/** Parses one row, or hands its error to `onBadRow` and returns undefined. */
function tryRow(bytes: Uint8Array | null, row: number, reader: RowReader): SourceRow | undefined {
  try {
    if (bytes === null) throw rowTooLong(`${reader.name}: row ${formatRow(row)}`);
    return parseRow(bytes, row, reader.name);
  } catch (error) {
    if (!(error instanceof UserError) || reader.onBadRow === undefined) throw error;
    reader.onBadRow(row, error);
    return undefined;
  }
}

/** Bytes of a row that may span several blocks; forgets them once they exceed the limit. */
class RowBytes {
  #parts: Buffer[] = [];
  #length = 0;

  add(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > MAX_ROW_BYTES) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }

  /** The row collected so far, null if it was too long; starts a new one. */
  take(): Buffer | null {
    const bytes = this.#length > MAX_ROW_BYTES ? null : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    return bytes;
  }
}

/** Rows of a JSON Lines file; the row number is the line number, blank lines are skipped. */
export async function* jsonlRows(
  blocks: AsyncIterable<Buffer>,
  reader: RowReader,
): AsyncGenerator<SourceRow> {
  const pending = new RowBytes();
  let line = 0;
  const finish = (): SourceRow | undefined => {
    line += 1;
    const bytes = pending.take();
    return bytes?.every(isSpace) ? undefined : tryRow(bytes, line, reader);
  };
  for await (const block of blocks) {
    let start = 0;
    for (let end = block.indexOf(LINE_FEED); end >= 0; end = block.indexOf(LINE_FEED, start)) {
      pending.add(block.subarray(start, end));
      start = end + 1;
      const row = finish();
      if (row) yield row;
    }
    pending.add(block.subarray(start));
  }
  const last = finish();
  if (last) yield last;
}

/**
 * Rows of a JSON file: the elements of the top array, or of the array under "data", "train" or "rows" of the top object.
 * @throws UserError when there is no such array or the file ends inside it.
 */
export async function* jsonRows(blocks: AsyncIterable<Buffer>, reader: RowReader): AsyncGenerator<SourceRow> {
  const { name } = reader;
  const element = new RowBytes();
  const keys: string[] = [];
  let depth = 0;
  let inString = false;
  let escaped = false;
  let inElement = false;
  let needsElement = false;
  /** Depth inside the array of rows; 0 until it is found, −1 once it has ended. */
  let rowsDepth = 0;
  let rootIsObject = false;
  let expectsKey = false;
  let key: number[] | undefined;
  let row = 0;
  let started = false;

  const malformed = (what: string) =>
    new UserError(
      'data/malformed-json',
      `${name}: ${what}`,
      'Export the file again, or save it as JSON Lines.',
    );

  for await (const block of blocks) {
    let elementStart = 0;
    for (let at = 0; at < block.length; at++) {
      const byte = block[at] ?? 0;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === CHAR.backslash) escaped = true;
        else if (byte === CHAR.quote) {
          inString = false;
          if (key !== undefined) keys.push(Buffer.from(key).toString('utf8'));
          key = undefined;
        }
        if (key !== undefined && key.length < 64 && inString) key.push(byte);
        continue;
      }
      if (isSpace(byte)) continue;
      if (depth === 0) {
        if (started) throw malformed('there is more text after the end of the JSON document');
        started = true;
        if (!isOpening(byte)) throw notRows(name, []);
        rootIsObject = byte === 0x7b;
        expectsKey = rootIsObject;
        if (!rootIsObject) rowsDepth = 1;
        depth = 1;
        continue;
      }
      if (depth === rowsDepth) {
        const ends = byte === CHAR.comma || isClosing(byte);
        if (ends && inElement) {
          element.add(block.subarray(elementStart, at));
          inElement = false;
          row += 1;
          const parsed = tryRow(element.take(), row, reader);
          if (parsed) yield parsed;
        } else if (ends && (byte === CHAR.comma || needsElement)) {
          throw malformed(`a comma without a row after row ${formatRow(row)}`);
        } else if (!ends && !inElement) {
          inElement = true;
          elementStart = at;
        }
        needsElement = byte === CHAR.comma;
      } else if (depth === 1 && rootIsObject) {
        if (byte === CHAR.comma) expectsKey = true;
        else if (byte === CHAR.colon) expectsKey = false;
        else if (byte === CHAR.quote && expectsKey) key = [];
        else if (byte === 0x5b && rowsDepth === 0 && ROW_KEYS.has(keys.at(-1) ?? '')) rowsDepth = 2;
      }
      if (byte === CHAR.quote) inString = true;
      else if (isOpening(byte)) depth += 1;
      else if (isClosing(byte)) {
        if (depth === rowsDepth) rowsDepth = -1;
        depth -= 1;
      }
    }
    if (inElement) element.add(block.subarray(elementStart));
  }
  if (rowsDepth === 0) throw notRows(name, keys);
  if (depth > 0) throw malformed(`the file ends in the middle, inside row ${formatRow(row + 1)}`);
}

function notRows(name: string, keys: readonly string[]): UserError {
  const found =
    keys.length === 0
      ? 'something else'
      : `an object with ${keys
          .slice(0, 8)
          .map((key) => `"${key}"`)
          .join(', ')}`;
  return new UserError(
    'data/json-not-rows',
    `${name}: expected an array of rows, or an object with the rows under "data", "train" or "rows"; found ${found}`,
    'Save the rows as an array of objects, or one object a line with the extension .jsonl.',
  );
}
