/**
 * Routing records as blobs: little-endian (as on every supported processor), layer-major, copied both ways because a
 * blob from SQLite need not be aligned.
 */
import { invariant } from '#core/contract/errors.ts';
import type { RoutingRecord } from '#core/contract/metrics.ts';

/** `encoding` column: counts as u16, or as u32 where one of them does not fit. */
const ENCODING_U16 = 1;
const ENCODING_U32 = 2;

/** One row of the `usage` table. */
export interface UsageRow {
  readonly step: number;
  readonly encoding: number;
  readonly counts: Uint8Array;
  readonly mass: Uint8Array | null;
  readonly soft: Uint8Array | null;
  readonly grad_norm: Uint8Array | null;
  readonly bias: Uint8Array | null;
  /** u16: for each layer the number of condensers, then their ids. */
  readonly condensers: Uint8Array | null;
}

/** Packs `record` for the `usage` table. */
export function packUsage(record: RoutingRecord): UsageRow {
  const wide = record.counts_LE.some((count) => count > 0xffff);
  return {
    step: record.step,
    encoding: wide ? ENCODING_U32 : ENCODING_U16,
    counts: bytesOf(wide ? record.counts_LE : Uint16Array.from(record.counts_LE)),
    mass: record.mass_LE ? bytesOf(record.mass_LE) : null,
    soft: record.soft_LE ? bytesOf(record.soft_LE) : null,
    grad_norm: record.gradNorm_LE ? bytesOf(record.gradNorm_LE) : null,
    bias: record.bias_LE ? bytesOf(record.bias_LE) : null,
    condensers: record.condensers ? bytesOf(packLists(record.condensers)) : null,
  };
}

/** The inverse of `packUsage`. */
export function unpackUsage(row: UsageRow): RoutingRecord {
  invariant(
    row.encoding === ENCODING_U16 || row.encoding === ENCODING_U32,
    `usage of step ${row.step}: unknown encoding ${row.encoding}`,
  );
  const counts = bufferOf(row.counts);
  return {
    step: row.step,
    counts_LE:
      row.encoding === ENCODING_U32 ? new Uint32Array(counts) : Uint32Array.from(new Uint16Array(counts)),
    ...(row.mass && { mass_LE: new Float32Array(bufferOf(row.mass)) }),
    ...(row.soft && { soft_LE: new Float32Array(bufferOf(row.soft)) }),
    ...(row.grad_norm && { gradNorm_LE: new Float32Array(bufferOf(row.grad_norm)) }),
    ...(row.bias && { bias_LE: new Float32Array(bufferOf(row.bias)) }),
    ...(row.condensers && { condensers: unpackLists(new Uint16Array(bufferOf(row.condensers))) }),
  };
}

function packLists(lists: readonly (readonly number[])[]): Uint16Array {
  const flat = lists.flatMap((list) => [list.length, ...list]);
  invariant(
    flat.every((value) => Number.isInteger(value) && value >= 0 && value <= 0xffff),
    'condenser ids do not fit 16 bits',
  );
  return Uint16Array.from(flat);
}

function unpackLists(packed: Uint16Array): number[][] {
  const lists: number[][] = [];
  for (let at = 0; at < packed.length;) {
    const length = packed[at] ?? 0;
    lists.push([...packed.subarray(at + 1, at + 1 + length)]);
    at += 1 + length;
  }
  return lists;
}

function bytesOf(array: Uint16Array | Uint32Array | Float32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
