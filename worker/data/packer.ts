/** Plans which examples share a row. */
import { groupOrder } from './order.ts';

/** Rows of an epoch: row r holds `examples[starts[r]]` to `examples[starts[r + 1] − 1]`. */
export interface RowPlan {
  readonly starts: Uint32Array;
  readonly examples: Uint32Array;
}

/** Rows open for more examples at the same time; more hardly fills rows better and costs time. */
const OPEN_ROWS = 64;

interface OpenRow {
  readonly examples: number[];
  left: number;
}

/**
 * Packs examples into rows of up to `maxLength` tokens: each goes into the first open row with room; when none has, a new row is
 * opened, and the oldest leaves once {@link OPEN_ROWS} are open.
 * @param order example numbers in the order of the epoch.
 * @param lengths tokens per example number, none above `maxLength`.
 */
export function packRows(order: Uint32Array, lengths: Uint32Array, maxLength: number): RowPlan {
  const starts: number[] = [0];
  const examples = new Uint32Array(order.length);
  let written = 0;
  const open: OpenRow[] = [];
  const close = (index: number) => {
    const [row] = open.splice(index, 1);
    if (row === undefined) return;
    examples.set(row.examples, written);
    written += row.examples.length;
    starts.push(written);
  };
  for (const example of order) {
    const length = lengths[example] ?? 0;
    let index = open.findIndex((row) => row.left >= length);
    if (index < 0) {
      if (open.length === OPEN_ROWS) close(0);
      index = open.push({ examples: [], left: maxLength }) - 1;
    }
    const row = open[index];
    if (row === undefined) continue;
    row.examples.push(example);
    row.left -= length;
    if (row.left === 0) close(index);
  }
  while (open.length > 0) close(0);
  return { starts: Uint32Array.from(starts), examples };
}

/** One example a row, in the given order. */
export function singleRows(order: Uint32Array): RowPlan {
  return { starts: Uint32Array.from({ length: order.length + 1 }, (_, row) => row), examples: order };
}

/** Micro-batches sorted together by {@link bucketByLength}. */
const BUCKET_BATCHES = 32;

/**
 * Reorders examples so that those of a micro-batch are of similar length, which saves padding: stretches of the order are sorted by
 * length and cut into micro-batches, and these are shuffled again so that lengths don't follow each other through the epoch.
 */
export function bucketByLength(
  order: Uint32Array,
  lengths: Uint32Array,
  options: { readonly microBatch: number; readonly seed: number; readonly epoch: number },
): Uint32Array {
  const { microBatch, seed, epoch } = options;
  const sorted = order.slice();
  const stretch = microBatch * BUCKET_BATCHES;
  for (let start = 0; start < sorted.length; start += stretch) {
    sorted.subarray(start, start + stretch).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b);
  }
  const full = Math.floor(sorted.length / microBatch);
  const result = sorted.slice();
  for (const [position, group] of groupOrder(full, seed, epoch).entries()) {
    result.set(sorted.subarray(group * microBatch, (group + 1) * microBatch), position * microBatch);
  }
  return result;
}
