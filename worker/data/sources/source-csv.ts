/** Streaming reader for comma-, semicolon- and tab-separated files with a header. */
import { Readable, pipeline } from 'node:stream';
import { parse } from 'csv-parse';
import { UserError } from '#core/contract/errors.ts';
import { decodeText, MAX_ROW_BYTES, rowTooLong } from './source-row.ts';
import type { RowReader, SourceRow } from './source-row.ts';

interface Table {
  /** File name, for messages. */
  readonly name: string;
  /** Start of the file, to find the separator. */
  readonly head: string;
  readonly tabs: boolean;
}

/** A line before the header that names the separator, as spreadsheet programs write and read it: `sep=;`. */
const SEPARATOR_LINE = /^sep=([,;\t])\r?$/i;

/**
 * The separator that a line before the header names, else the one that occurs most in the header; spreadsheets in many languages
 * write semicolons.
 */
function layout(table: Table): { readonly delimiter: string; readonly headerLine: number } {
  const first = table.head.split('\n', 1)[0] ?? '';
  const named = SEPARATOR_LINE.exec(first)?.[1];
  if (named !== undefined) return { delimiter: named, headerLine: 2 };
  const count = (mark: string) => first.split(mark).length - 1;
  const likeliest = [',', ';', '\t'].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  return { delimiter: table.tabs ? '\t' : likeliest, headerLine: 1 };
}

interface CsvRecord {
  /** A character for each byte: whether they are UTF-8 is asked when the record can be named. */
  readonly fields: readonly string[];
  /** The line it ends in. */
  readonly line: number;
}

// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;

/** @throws UserError `data/not-utf8`. */
function decodeFields(fields: readonly string[], where: string): string[] {
  return fields.map((field) => (ASCII.test(field) ? field : decodeText(Buffer.from(field, 'latin1'), where)));
}

async function* records(blocks: AsyncIterable<Buffer>, table: Table): AsyncGenerator<CsvRecord> {
  const { delimiter, headerLine } = layout(table);
  const parser = parse({
    delimiter,
    from_line: headerLine,
    encoding: 'latin1',
    info: true,
    relax_column_count: true, // counted by the reader, so that a bad row can be named and skipped
    skip_empty_lines: true,
    max_record_size: MAX_ROW_BYTES,
    // Tab-separated exports rarely quote; a lone quotation mark is then text.
    relax_quotes: table.tabs,
  });
  // Ends both streams together; errors of either come out of the loop below.
  pipeline(Readable.from(blocks), parser, () => undefined);
  let line = 0;
  try {
    for await (const item of parser) {
      const { record, info } = item as { record: string[]; info: { lines: number } };
      line = info.lines;
      yield { fields: record, line };
    }
  } catch (cause) {
    throw csvError(cause, table.name, line);
  }
}

/** @param lastLine that the last whole record ends in: where a quotation mark is never closed, the parser only knows the end of the file. */
function csvError(cause: unknown, name: string, lastLine: number): unknown {
  if (!(cause instanceof Error) || !('code' in cause) || !('lines' in cause)) return cause;
  const at = `${name}: line ${Number(cause.lines).toLocaleString('en-US')}`;
  if (cause.code === 'CSV_MAX_RECORD_SIZE') return rowTooLong(`${at}: the row`);
  return new UserError(
    'data/malformed-csv',
    cause.code === 'CSV_QUOTE_NOT_CLOSED'
      ? `${name}: a quotation mark in the row that begins after line ${lastLine.toLocaleString('en-US')} is never closed`
      : `${at}: ${cause.message}`,
    'A field with a quotation mark must be enclosed in quotation marks, and the inner ones doubled.',
    { cause },
  );
}

/** Reads the header. @throws UserError for an empty or repeated column name. */
export async function csvColumns(blocks: AsyncIterable<Buffer>, table: Table): Promise<string[]> {
  for await (const { fields } of records(blocks, table)) return readHeader(fields, table.name);
  throw new UserError('data/empty-file', `${table.name} has no rows`, 'Export the data again.');
}

function readHeader(fields: readonly string[], name: string): string[] {
  const columns = decodeFields(fields, `${name}: the header`).map((field) => field.trim());
  const bad = columns.findIndex((column, index) => column === '' || columns.indexOf(column) !== index);
  if (bad >= 0) {
    const what = columns[bad] === '' ? 'has no name' : `repeats the name "${columns[bad]}"`;
    throw new UserError(
      'data/csv-header',
      `${name}: column ${bad + 1} of the header ${what}`,
      'The first line must name every column once.',
    );
  }
  return columns;
}

/** @throws UserError for a wrong number of fields, or other text than UTF-8. */
function byColumn(
  fields: readonly string[],
  columns: readonly string[],
  where: string,
): Record<string, string | undefined> {
  if (fields.length !== columns.length) {
    throw new UserError(
      'data/csv-fields',
      `${where} has ${fields.length} fields; the header names ${columns.length}: ${columns.join(', ')}`,
      'Enclose fields that contain the separator or a line break in quotation marks.',
    );
  }
  const texts = decodeFields(fields, where);
  return Object.fromEntries(columns.map((column, index) => [column, texts[index]]));
}

/** Rows after the header, fields by column name. @throws UserError for a row that {@link byColumn} refuses. */
export async function* readCsv(
  blocks: AsyncIterable<Buffer>,
  table: Table & RowReader,
): AsyncGenerator<SourceRow> {
  let columns: string[] | undefined;
  let row = 0;
  for await (const { fields, line } of records(blocks, table)) {
    if (columns === undefined) {
      columns = readHeader(fields, table.name);
      continue;
    }
    row += 1;
    const where = `${table.name}: row ${row.toLocaleString('en-US')} (ends in line ${line.toLocaleString('en-US')})`;
    let value: SourceRow['value'];
    try {
      value = byColumn(fields, columns, where);
    } catch (error) {
      if (!(error instanceof UserError) || table.onBadRow === undefined) throw error;
      table.onBadRow(row, error);
      continue;
    }
    yield { row, value };
  }
}
