/** Which keys each query of a micro-batch sees. */
import { HIDDEN_SCORE } from '#worker/model/index.ts';
import type { MicroBatch } from '../batch.ts';

/** Queries `[from, to)` of one row, and the keys `[firstKey, to)` that any of them sees. */
export interface QueryBlock {
  readonly row: number;
  readonly from: number;
  readonly to: number;
  readonly firstKey: number;
}

/**
 * A query sees real tokens of its own segment up to itself; a padding query sees all real tokens before it, as the
 * reference implementations have it. With a window it sees that many places of its row at most, its own included.
 */
export class AttentionMask {
  readonly #batch: MicroBatch;
  readonly #window: number;
  readonly #lags: boolean;
  /** Where the unbroken run of a place's segment begins, and where its segment is first met in the row. */
  readonly #runStart: Int32Array;
  readonly #segmentStart: Int32Array;

  /** @param lags where a query may look, the mask has how many places back that is, for convolutions; else 0. */
  constructor(batch: MicroBatch, window = Infinity, lags = false) {
    this.#batch = batch;
    this.#window = window;
    this.#lags = lags;
    const { sequence: length, segments } = batch;
    this.#runStart = new Int32Array(segments.length);
    this.#segmentStart = new Int32Array(segments.length);
    for (let row = 0; row < batch.batch; row++) {
      const met = new Map<number, number>();
      for (let place = 0; place < length; place++) {
        const at = row * length + place;
        const own = segments[at] as number;
        const goesOn = place > 0 && segments[at - 1] === own;
        if (!met.has(own)) met.set(own, place);
        this.#runStart[at] = goesOn ? (this.#runStart[at - 1] as number) : place;
        this.#segmentStart[at] = met.get(own) ?? place;
      }
    }
  }

  /** The first place a query can see. */
  #firstVisible(row: number, query: number): number {
    const at = row * this.#batch.sequence + query;
    const inWindow = Math.max(0, query - this.#window + 1);
    return (this.#batch.segments[at] as number) > 0
      ? Math.max(inWindow, this.#segmentStart[at] as number)
      : inWindow;
  }

  /** A row cut into blocks of at most `size` queries. */
  *blocks(row: number, size: number): Generator<QueryBlock> {
    const { sequence: length } = this.#batch;
    const count = Math.ceil(length / size);
    const each = Math.ceil(length / count);
    for (let from = 0; from < length; from += each) {
      const to = Math.min(length, from + each);
      let firstKey = from;
      for (let query = from; query < to; query++)
        firstKey = Math.min(firstKey, this.#firstVisible(row, query));
      yield { row, from, to, firstKey };
    }
  }

  /** Writes `mask` [queries, keys] of a block: 0 where a query may look, a very low number elsewhere. */
  write({ row, from, to, firstKey }: QueryBlock, mask: Float32Array, keys = to - firstKey): void {
    const { sequence: length, segments } = this.#batch;
    mask.fill(HIDDEN_SCORE);
    for (let query = from; query < to; query++) {
      const at = row * length + query;
      const own = segments[at] as number;
      const first = this.#firstVisible(row, query);
      const base = (query - from) * keys - firstKey;
      // The run the query ends is visible as a whole; whatever comes before it is looked at one by one.
      const run = own > 0 ? Math.max(first, this.#runStart[at] as number) : query + 1;
      for (let key = first; key < run; key++) {
        const other = segments[row * length + key] as number;
        if (other > 0 && (own === 0 || own === other)) mask[base + key] = 0;
      }
      if (run <= query) mask.fill(0, base + run, base + query + 1);
    }
    if (this.#lags) writeLags(mask, from - firstKey, keys);
  }

  /** The mask of all rows, `[batch, 1, sequence, sequence]`. */
  writeWhole(mask_B1SS: Float32Array): void {
    const { batch: rows, sequence: length } = this.#batch;
    for (let row = 0; row < rows; row++) {
      const own = mask_B1SS.subarray(row * length * length, (row + 1) * length * length);
      this.write({ row, from: 0, to: length, firstKey: 0 }, own, length);
    }
  }
}

/**
 * Writes the mask of consecutive queries of one row without padding, `mask` [queries, keys]; the first query is key
 * `offset` of them.
 */
export function writeCausalMask(mask: Float32Array, offset: number, keys: number, window: number): void {
  mask.fill(HIDDEN_SCORE);
  for (let query = 0; query * keys < mask.length; query++) {
    const self = offset + query;
    mask.fill(0, query * keys + Math.max(0, self - window + 1), query * keys + self + 1);
  }
}

/** Puts how many places back a key is where `mask` [queries, keys] has 0; the first query is key `offset`. */
export function writeLags(mask: Float32Array, offset: number, keys: number): void {
  mask.forEach((value, at) => {
    if (value === 0) mask[at] = offset + Math.floor(at / keys) - (at % keys);
  });
}
