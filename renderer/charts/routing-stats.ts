/** What a window of routing records says about each layer. Arrays are layer-major `[layers × experts]`. */
import type { RoutingRecord } from '#core/contract/metrics.ts';

/** Routing summed over consecutive steps. */
export interface RoutingWindow {
  readonly layers: number;
  readonly experts: number;
  readonly fromStep: number;
  readonly toStep: number;
  /** Steps that were summed. */
  readonly steps: number;
  /** Selections over the window. */
  readonly counts_LE: Float64Array;
  /** Gate weight over the window, where it was measured in every step. */
  readonly mass_LE?: Float64Array;
  /** Router bias after the last step, where the method keeps one. */
  readonly bias_LE?: Float64Array;
  /** Always-active experts by layer after the last step. */
  readonly condensers?: readonly (readonly number[])[];
}

/** Sums `records` (oldest first); undefined when there is none or their size is not `layers × experts`. */
export function sumRouting(
  records: readonly RoutingRecord[],
  layers: number,
  experts: number,
): RoutingWindow | undefined {
  const usable = records.filter((record) => record.counts_LE.length === layers * experts);
  const [first, last] = [usable[0], usable.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const counts_LE = new Float64Array(layers * experts);
  const measured = usable.every((record) => record.mass_LE?.length === counts_LE.length);
  const mass_LE = new Float64Array(measured ? counts_LE.length : 0);
  for (const record of usable) {
    for (let i = 0; i < counts_LE.length; i++)
      counts_LE[i] = (counts_LE[i] ?? 0) + (record.counts_LE[i] ?? 0);
    for (let i = 0; i < mass_LE.length; i++) mass_LE[i] = (mass_LE[i] ?? 0) + (record.mass_LE?.[i] ?? 0);
  }
  return {
    layers,
    experts,
    fromStep: first.step,
    toStep: last.step,
    steps: usable.length,
    counts_LE,
    ...(measured && { mass_LE }),
    ...(last.bias_LE?.length === counts_LE.length && { bias_LE: Float64Array.from(last.bias_LE) }),
    ...(last.condensers && { condensers: last.condensers }),
  };
}

/** Sum of `x`. */
function total(x: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] ?? 0;
  return sum;
}

/** Gini coefficient of non-negative `x`: `Σ_i (2i − n − 1) x_(i) / (n Σ x)` over ascending order; 0 when all are equal or zero. */
export function gini(x: ArrayLike<number>): number {
  const sorted = new Float64Array(x).sort();
  const n = sorted.length;
  let sum = 0;
  let weighted = 0;
  for (let i = 0; i < n; i++) {
    sum += sorted[i] ?? 0;
    weighted += (2 * (i + 1) - n - 1) * (sorted[i] ?? 0);
  }
  return sum === 0 ? 0 : weighted / (n * sum);
}

/** Shannon entropy of `x` taken as shares, in nats: `−Σ p ln p`. */
export function entropy(x: ArrayLike<number>): number {
  const sum = total(x);
  let result = 0;
  for (let i = 0; i < x.length; i++) {
    const p = (x[i] ?? 0) / sum;
    if (p > 0) result -= p * Math.log(p);
  }
  return result;
}

/** Jensen–Shannon divergence of `x` and `y` taken as shares, in nats (0 to ln 2); undefined when one has no mass. */
export function jensenShannon(x: ArrayLike<number>, y: ArrayLike<number>): number | undefined {
  const [a, b] = [total(x), total(y)];
  if (a === 0 || b === 0) return undefined;
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const u = (x[i] ?? 0) / a;
    const v = (y[i] ?? 0) / b;
    const mean = (u + v) / 2;
    if (u > 0) sum += (u / 2) * Math.log(u / mean);
    if (v > 0) sum += (v / 2) * Math.log(v / mean);
  }
  return Math.max(0, sum);
}

/** An expert with more than this many times the uniform load counts as overloaded. */
const OVERLOAD = 2;

/** One layer of a window. */
export interface LayerStats {
  /** Row in the window; the decoder's own layer index is `RunFacts.moeLayerIndices[row]`. */
  readonly row: number;
  readonly tokens: number;
  readonly gini: number;
  readonly entropy: number;
  /** `exp(entropy)`: how many equally used experts would be as spread out. */
  readonly effective: number;
  /** Largest load over the uniform one. */
  readonly peak: number;
  /** Experts without a token in the window, always-active ones left out. */
  readonly dead: readonly number[];
  readonly overloaded: readonly number[];
  /** Share of all selections taken by the overloaded experts. */
  readonly overloadedShare: number;
  /** Largest absolute router bias. */
  readonly bias?: number;
  readonly condensers?: readonly number[];
  /** Jensen–Shannon divergence from the first steps of the run, in nats. */
  readonly drift?: number;
}

/** Statistics of each layer; `start` is the first window of the run, for the drift. */
export function layerStats(window: RoutingWindow, start?: RoutingWindow): readonly LayerStats[] {
  const { layers, experts } = window;
  return Array.from({ length: layers }, (_, row) => {
    const slice = (array: Float64Array) => array.subarray(row * experts, (row + 1) * experts);
    const counts = slice(window.counts_LE);
    const tokens = total(counts);
    const uniform = tokens / experts;
    const condensers = window.condensers?.[row];
    const dead: number[] = [];
    const overloaded: number[] = [];
    let overload = 0;
    let most = 0;
    for (let id = 0; id < experts; id++) {
      const count = counts[id] ?? 0;
      most = Math.max(most, count);
      if (count > OVERLOAD * uniform) {
        overloaded.push(id);
        overload += count;
      } else if (count === 0 && tokens > 0 && !(condensers?.includes(id) ?? false)) dead.push(id);
    }
    const spread = entropy(counts);
    const drift = start === undefined ? undefined : jensenShannon(slice(start.counts_LE), counts);
    return {
      row,
      tokens,
      gini: gini(counts),
      entropy: spread,
      effective: Math.exp(spread),
      peak: uniform > 0 ? most / uniform : 0,
      dead,
      overloaded,
      overloadedShare: tokens === 0 ? 0 : overload / tokens,
      ...(window.bias_LE && {
        bias: slice(window.bias_LE).reduce((largest, b) => Math.max(largest, Math.abs(b)), 0),
      }),
      ...(condensers && { condensers }),
      ...(drift !== undefined && { drift }),
    };
  });
}
