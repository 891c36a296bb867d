/** Assignment of tokens to experts that all get as many: the routing of BASE layers. */
import { invariant } from '#core/contract/errors.ts';

/** Sums of scores that differ by less are the same. */
const EPSILON = 1e-9;

/** Who is where, and what it is worth at best to move one row from one column to another. */
class Places {
  readonly members: readonly Set<number>[];
  readonly #holds: Uint8Array;
  readonly #gain: Float64Array;
  readonly #mover: Int32Array;
  readonly #scores: Float64Array;
  readonly #columns: number;

  constructor(scores: Float64Array, columns: number) {
    this.#scores = scores;
    this.#columns = columns;
    this.#holds = new Uint8Array(scores.length);
    this.#gain = new Float64Array(columns * columns).fill(-Infinity);
    this.#mover = new Int32Array(columns * columns).fill(-1);
    this.members = Array.from({ length: columns }, () => new Set<number>());
  }

  holds(row: number, column: number): boolean {
    return this.#holds[row * this.#columns + column] === 1;
  }

  score(row: number, column: number): number {
    return this.#scores[row * this.#columns + column] as number;
  }

  gain(from: number, to: number): number {
    return this.#gain[from * this.#columns + to] as number;
  }

  mover(from: number, to: number): number {
    return this.#mover[from * this.#columns + to] as number;
  }

  #consider(row: number, from: number, to: number): void {
    const at = from * this.#columns + to;
    const gain = this.score(row, to) - this.score(row, from);
    if (this.holds(row, to) || gain <= (this.#gain[at] as number)) return;
    this.#gain[at] = gain;
    this.#mover[at] = row;
  }

  /** Finds the best mover again where it was `row`. */
  #replace(row: number, from: number, to: number): void {
    if (this.mover(from, to) !== row) return;
    this.#gain[from * this.#columns + to] = -Infinity;
    this.#mover[from * this.#columns + to] = -1;
    for (const other of this.members[from] ?? []) this.#consider(other, from, to);
  }

  add(row: number, column: number): void {
    this.#holds[row * this.#columns + column] = 1;
    this.members[column]?.add(row);
    for (let other = 0; other < this.#columns; other++) {
      if (this.holds(row, other)) this.#replace(row, other, column);
      else this.#consider(row, column, other);
    }
  }

  remove(row: number, column: number): void {
    this.#holds[row * this.#columns + column] = 0;
    this.members[column]?.delete(row);
    for (let other = 0; other < this.#columns; other++) {
      if (this.holds(row, other)) this.#consider(row, other, column);
      else this.#replace(row, column, other);
    }
  }
}

/**
 * Gives each row `k` different columns, and each column at most `⌈rows · k / columns⌉` rows, with the largest sum of scores. Rows
 * come one after the other, each along the best augmenting path, so that the result is exact (a transportation problem).
 * @param scores `[rows × columns]`, finite.
 * @returns `[rows × k]` columns, by falling score.
 */
export function balancedAssignment(
  scores: Float64Array,
  rows: number,
  columns: number,
  k: number,
): Int32Array {
  const capacity = Math.ceil((rows * k) / columns);
  const places = new Places(scores, columns);
  for (let row = 0; row < rows; row++)
    for (let slot = 0; slot < k; slot++) place(places, row, columns, capacity);
  const assigned = new Int32Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const own = Array.from({ length: columns }, (_, column) => column)
      .filter((column) => places.holds(row, column))
      .sort((a, b) => places.score(row, b) - places.score(row, a));
    assigned.set(own, row * k);
  }
  return assigned;
}

/** Gives `row` one more column, moving others where that is worth it. */
function place(places: Places, row: number, columns: number, capacity: number): void {
  const best = Float64Array.from({ length: columns }, (_, column) =>
    places.holds(row, column) ? -Infinity : places.score(row, column),
  );
  const before = new Int32Array(columns).fill(-1);
  for (let round = 0, changed = true; changed && round < columns; round++) {
    changed = false;
    for (let from = 0; from < columns; from++) {
      for (let to = 0; to < columns; to++) {
        const sum = (best[from] as number) + places.gain(from, to);
        if (from === to || sum <= (best[to] as number) + EPSILON) continue;
        best[to] = sum;
        before[to] = from;
        changed = true;
      }
    }
  }
  let end = -1;
  for (let column = 0; column < columns; column++) {
    const isOpen = (places.members[column]?.size ?? 0) < capacity && best[column] !== -Infinity;
    if (isOpen && (end === -1 || (best[column] as number) > (best[end] as number))) end = column;
  }
  invariant(end !== -1, 'there is a place for every row');
  const moves: { readonly row: number; readonly from: number; readonly to: number }[] = [];
  let to = end;
  for (let from = before[to] as number; from !== -1; from = before[to] as number) {
    invariant(moves.length < columns, 'a path visits a column once');
    moves.push({ row: places.mover(from, to), from, to });
    to = from;
  }
  for (const move of moves) places.remove(move.row, move.from);
  for (const move of moves) places.add(move.row, move.to);
  places.add(row, to);
}
