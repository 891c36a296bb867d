/** What a window of routing records says about each layer. Arrays are layer-major `[layers × experts]`. */
import type { RoutingRecord } from '#core/contract/metrics.ts';
import {
  deadExperts,
  gini,
  hasLoad,
  jensenShannon,
  loadMetrics,
  OVERLOAD,
  overloaded,
} from '#core/load/load-metrics.ts';

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

/** One layer of a window. */
export interface LayerStats {
  /** Row in the window; the decoder's own layer index is `RunFacts.moeLayerIndices[row]`. */
  readonly row: number;
  readonly gini: number;
  /** In nats. */
  readonly entropy: number;
  /** `exp(entropy)`: how many equally used experts would be as spread out. */
  readonly effective: number;
  /** Experts without a token in the window, always-active ones left out. */
  readonly dead: readonly number[];
  readonly overloaded: readonly number[];
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
    const counts_E = slice(window.counts_LE);
    const start_E = start && slice(start.counts_LE);
    const condensers = window.condensers?.[row];
    // A layer of which nothing was measured is shown as one whose experts are alike.
    const effective = hasLoad(counts_E) ? loadMetrics(counts_E).effectiveExperts : 1;
    return {
      row,
      gini: gini(counts_E),
      entropy: Math.log(effective),
      effective,
      dead: deadExperts(counts_E, condensers),
      overloaded: hasLoad(counts_E) ? overloaded(counts_E, OVERLOAD) : [],
      ...(window.bias_LE && {
        bias: slice(window.bias_LE).reduce((largest, b) => Math.max(largest, Math.abs(b)), 0),
      }),
      ...(condensers && { condensers }),
      ...(start_E && hasLoad(start_E) && hasLoad(counts_E) && { drift: jensenShannon(start_E, counts_E) }),
    };
  });
}
