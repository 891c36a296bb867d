/** Reader for Parquet files, a slice of a row group at a time. */
import type { FileHandle } from 'node:fs/promises';
import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { UserError } from '#core/contract/errors.ts';
import { MAX_ROW_BYTES, rowTooLong } from './source-row.ts';
import type { OnBadRow, SourceRow } from './source-row.ts';

/** Rows decoded at once: bounds memory, while each column chunk is decoded only a few times. */
const SLICE_ROWS = 16_384;

function bufferOf(handle: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const bytes = new Uint8Array(Math.max(0, end - start));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
      return bytes.buffer.slice(0, bytesRead);
    },
  };
}

/** Row ranges of at most SLICE_ROWS that stay inside one row group. */
function slices(metadata: FileMetaData): { start: number; end: number }[] {
  const result: { start: number; end: number }[] = [];
  let groupStart = 0;
  for (const group of metadata.row_groups) {
    const groupEnd = groupStart + Number(group.num_rows);
    for (let start = groupStart; start < groupEnd; start += SLICE_ROWS) {
      result.push({ start, end: Math.min(start + SLICE_ROWS, groupEnd) });
    }
    groupStart = groupEnd;
  }
  return result;
}

/** Bytes of the texts in a row, lists and structs included. */
function textBytes(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0;
  return Object.values(value).reduce((sum: number, item) => sum + textBytes(item), 0);
}

/**
 * Reads the footer of a Parquet file.
 * @throws UserError `data/parquet-damaged` when the footer or a column can't be decoded.
 */
export async function openParquet(
  handle: FileHandle,
  bytes: number,
  name: string,
): Promise<{ columns: string[]; rows: (onBadRow: OnBadRow | undefined) => AsyncGenerator<SourceRow> }> {
  const file = bufferOf(handle, bytes);
  const damaged = (where: string, cause: unknown) =>
    new UserError(
      'data/parquet-damaged',
      `${name}: ${where} can't be read (${cause instanceof Error ? cause.message : String(cause)})`,
      'The file is probably cut short: compare its size with the original and copy it again.',
      { cause },
    );
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file);
  } catch (cause) {
    throw damaged('the Parquet footer', cause);
  }
  const columns = parquetSchema(metadata).children.map((child) => child.element.name);

  async function* rows(onBadRow: OnBadRow | undefined): AsyncGenerator<SourceRow> {
    for (const { start, end } of slices(metadata)) {
      let objects: Record<string, unknown>[];
      try {
        objects = await parquetReadObjects({ file, metadata, rowStart: start, rowEnd: end, compressors });
      } catch (cause) {
        throw damaged(`rows ${start + 1} to ${end}`, cause);
      }
      for (const [index, value] of objects.entries()) {
        const row = start + index + 1;
        if (textBytes(value) <= MAX_ROW_BYTES) {
          yield { row, value };
          continue;
        }
        const error = rowTooLong(`${name}: row ${row.toLocaleString('en-US')}`);
        if (onBadRow === undefined) throw error;
        onBadRow(row, error);
      }
    }
  }
  return { columns, rows };
}
