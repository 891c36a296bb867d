/** Keys and values of the tokens a decoder has seen, so that none is computed twice. */
import { invariant } from '#core/contract/errors.ts';
import type { ArenaTensor, Workspace } from '../workspace.ts';

/** Keys and values of tokens as attention reads them, one row of each matrix a token. */
export interface SeenTokens {
  readonly keyHeads: ArenaTensor;
  readonly valueHeads: ArenaTensor;
}

/**
 * The cache of a layer: room for `capacity` tokens of each of `rows` rows. Tokens lie by their place, then by row, so that what all
 * rows have so far is one block.
 */
export class KeyValueCache {
  readonly #workspace: Workspace;
  readonly #matrices: readonly [keys: ArenaTensor, values: ArenaTensor];
  readonly #capacity: number;
  #lengths: Int32Array;
  /** Places that are written in every row. */
  #written = 0;

  /** Takes its memory from the workspace, which takes it back. */
  constructor(workspace: Workspace, rows: number, capacity: number, keyWidth: number, valueWidth: number) {
    this.#workspace = workspace;
    this.#capacity = capacity;
    this.#lengths = new Int32Array(rows);
    this.#matrices = [
      workspace.tensor(capacity * rows, keyWidth),
      workspace.tensor(capacity * rows, valueWidth),
    ];
  }

  /** Tokens seen of each row. */
  get lengths(): Readonly<Int32Array> {
    return this.#lengths;
  }

  /** Adds the keys and values of the next tokens of a row. */
  append(row: number, keys: ArenaTensor, values: ArenaTensor): void {
    const rows = this.#lengths.length;
    const start = this.#lengths[row];
    invariant(start !== undefined, `row ${row} of ${rows}`);
    const end = start + (keys.shape[0] ?? 0);
    invariant(end <= this.#capacity, `a cache for ${this.#capacity} tokens cannot hold ${end}`);
    if (end > this.#written) {
      // What a shorter row does not have yet is hidden by masks, but must be a number.
      for (const matrix of this.#matrices)
        this.#workspace.rows(matrix, this.#written * rows, end * rows).data.fill(0);
      this.#written = end;
    }
    for (const [at, added] of [keys, values].entries()) {
      const matrix = this.#matrices[at as 0 | 1];
      const [, width = 0] = matrix.shape;
      for (let place = start; place < end; place++) {
        const from = (place - start) * width;
        matrix.data.set(added.data.subarray(from, from + width), (place * rows + row) * width);
      }
    }
    this.#lengths[row] = end;
  }

  /** Forgets all rows but these, in ascending order; they are numbered anew. */
  keep(rows: readonly number[]): void {
    const before = this.#lengths.length;
    for (const { data, shape } of this.#matrices) {
      const [, width = 0] = shape;
      for (let place = 0; place < this.#written; place++) {
        for (const [at, row] of rows.entries()) {
          const from = (place * before + row) * width;
          data.copyWithin((place * rows.length + at) * width, from, from + width);
        }
      }
    }
    this.#lengths = Int32Array.from(rows, (row) => this.#lengths[row] ?? 0);
  }

  /** The places `[from, to)` of every row, in place: [(to − from) · rows, …]; zeros where a row has no token. */
  ofAllRows(from: number, to: number): SeenTokens {
    const rows = this.#lengths.length;
    const [keyHeads, valueHeads] = this.#matrices.map((matrix) =>
      this.#workspace.rows(matrix, from * rows, to * rows),
    ) as [ArenaTensor, ArenaTensor];
    return { keyHeads, valueHeads };
  }

  /** The tokens `[from, to)` of one row; a copy where there are more rows. */
  ofRow(row: number, from: number, to: number): SeenTokens {
    const rows = this.#lengths.length;
    if (rows === 1) return this.ofAllRows(from, to);
    const [keyHeads, valueHeads] = this.#matrices.map((matrix) => {
      const [, width = 0] = matrix.shape;
      const own = this.#workspace.tensor(to - from, width);
      for (let place = from; place < to; place++) {
        const at = (place * rows + row) * width;
        own.data.set(matrix.data.subarray(at, at + width), (place - from) * width);
      }
      return own;
    }) as [ArenaTensor, ArenaTensor];
    return { keyHeads, valueHeads };
  }
}
