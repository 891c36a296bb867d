/**
 * Assignment of tokens to experts that all get as many: the routing of BASE layers. A transportation problem, solved exactly
 * by successive shortest paths from a start that is nearly balanced.
 *
 * Columns have prices, and each row holds the columns where its score less the price is largest. As long as that is so, no
 * other assignment with as many rows in each column has a larger sum. Prices are first set roughly; then columns that have
 * too many rows give them up, along paths on which nothing is lost at prices that rise meanwhile.
 */
import { invariant } from '#core/contract/errors.ts';
import { topK } from '#worker/model/index.ts';

/** Rounds in which prices are set roughly, and what their steps shrink by: measured to leave few rows to move. */
const ROUNDS = 12;
const SHRINK = 0.75;

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

  /** −∞ where no row can move. */
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

  /** Moves the best row of each column on a path to the next. */
  moveAlong(path: readonly number[]): void {
    const moves = path.slice(1).map((to, i) => {
      const from = path[i] ?? -1;
      return { row: this.mover(from, to), from, to };
    });
    for (const { row, from } of moves) this.#remove(row, from);
    for (const { row, to } of moves) this.add(row, to);
  }

  add(row: number, column: number): void {
    this.#holds[row * this.#columns + column] = 1;
    this.members[column]?.add(row);
    for (let other = 0; other < this.#columns; other++) {
      if (this.holds(row, other)) this.#replace(row, other, column);
      else this.#consider(row, column, other);
    }
  }

  #remove(row: number, column: number): void {
    this.#holds[row * this.#columns + column] = 0;
    this.members[column]?.delete(row);
    for (let other = 0; other < this.#columns; other++) {
      if (this.holds(row, other)) this.#consider(row, other, column);
      else this.#replace(row, column, other);
    }
  }
}

/** What each row would choose at `prices`, `[rows × k]`. */
function choicesAt(prices: Float64Array, scores: Float64Array, rows: number, k: number): Int32Array {
  const columns = prices.length;
  const worth = scores.map((score, at) => score - (prices[at % columns] as number));
  return topK(worth, rows, columns, k);
}

/** Mean over rows of the standard deviation of a row's scores. */
function spreadOf(scores: Float64Array, rows: number, columns: number): number {
  let spread = 0;
  for (let row = 0; row < rows; row++) {
    const own = scores.subarray(row * columns, (row + 1) * columns);
    const mean = own.reduce((sum, score) => sum + score, 0) / columns;
    spread += Math.sqrt(own.reduce((sum, score) => sum + (score - mean) ** 2, 0) / columns) / rows;
  }
  return spread;
}

/** Prices at which columns have about `capacity` rows: they rise where there are more and fall where there are fewer. */
function roughPrices(
  scores: Float64Array,
  rows: number,
  columns: number,
  k: number,
  capacity: number,
): Float64Array {
  const prices = new Float64Array(columns);
  let step = spreadOf(scores, rows, columns);
  for (let round = 0; round < ROUNDS; round++) {
    const load = new Int32Array(columns);
    for (const column of choicesAt(prices, scores, rows, k)) load[column] = (load[column] as number) + 1;
    load.forEach((count, column) => {
      prices[column] = (prices[column] as number) + step * Math.min(1, count / capacity - 1);
    });
    step *= SHRINK;
  }
  return prices;
}

/**
 * The shortest path from a column with more than `capacity` rows to one with fewer, a row moving from each column on it to the
 * next; its length is what these moves give up at present prices, which then rise so that they give up nothing (Dijkstra's
 * search). Null: no column has more.
 */
function cheapestPath(places: Places, prices: Float64Array, capacity: number): number[] | null {
  const columns = prices.length;
  const size = (column: number) => places.members[column]?.size ?? 0;
  const distance = Float64Array.from(prices, (_, column) => (size(column) > capacity ? 0 : Infinity));
  if (!distance.includes(0)) return null;
  const before = new Int32Array(columns).fill(-1);
  const done = new Uint8Array(columns);
  let end = nearest(distance, done);
  for (; size(end) >= capacity; end = nearest(distance, done)) {
    done[end] = 1;
    const start = (distance[end] as number) - (prices[end] as number);
    for (let to = 0; to < columns; to++) {
      const by = start + (prices[to] as number) - places.gain(end, to);
      if (done[to] === 1 || by >= (distance[to] as number)) continue;
      distance[to] = by;
      before[to] = end;
    }
  }
  for (let column = 0; column < columns; column++) {
    if (done[column] === 1)
      prices[column] = (prices[column] as number) + (distance[end] as number) - (distance[column] as number);
  }
  const path = [end];
  for (let at = before[end] as number; at !== -1; at = before[at] as number) path.push(at);
  return path.reverse();
}

/** The nearest column that is not done. */
function nearest(distance: Float64Array, done: Uint8Array): number {
  let found = -1;
  let least = Infinity;
  for (let column = 0; column < distance.length; column++) {
    if (done[column] === 1 || (distance[column] as number) >= least) continue;
    least = distance[column] as number;
    found = column;
  }
  invariant(found !== -1, 'there is a place for every row');
  return found;
}

/**
 * Gives each row `k` different columns, and each column at most `⌈rows · k / columns⌉` rows, with the largest sum of scores.
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
  const prices = roughPrices(scores, rows, columns, k, capacity);
  // Rows that score nothing anywhere take the places that stay free, one each: then all columns are full.
  const free = capacity * columns - rows * k;
  const filled = new Float64Array((rows + free) * columns);
  filled.set(scores);
  const places = new Places(filled, columns);
  choicesAt(prices, scores, rows, k).forEach((column, at) => places.add(Math.floor(at / k), column));
  const cheapest = prices.indexOf(Math.min(...prices));
  for (let row = rows; row < rows + free; row++) places.add(row, cheapest);
  let path = cheapestPath(places, prices, capacity);
  for (; path !== null; path = cheapestPath(places, prices, capacity)) places.moveAlong(path);
  const assigned = new Int32Array(rows * k);
  for (let row = 0; row < rows; row++) {
    const own = Array.from({ length: columns }, (_, column) => column)
      .filter((column) => places.holds(row, column))
      .sort((a, b) => places.score(row, b) - places.score(row, a));
    assigned.set(own, row * k);
  }
  return assigned;
}
