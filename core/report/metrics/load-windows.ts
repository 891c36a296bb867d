/** Expert load over a stretch of a run. */
import type { RoutingRecord } from '#core/contract/metrics.ts';
import { gini, hasLoad, jensenShannon, shares } from '#core/load/load-metrics.ts';

/** Routing over the records of some steps. */
export interface LoadWindow {
  readonly fromStep: number;
  readonly toStep: number;
  readonly records: number;
  /** Mean over the records of each layer's share per expert; a layer without selections is all zero. */
  readonly share_LE: readonly Float64Array[];
  /** Sum of the selections. */
  readonly counts_LE: readonly Float64Array[];
}

/** Layer `l` of a layer-major `[L × E]` array. */
export function layerOf<T extends Uint32Array | Float32Array>(values_LE: T, l: number, experts: number): T {
  return values_LE.subarray(l * experts, (l + 1) * experts) as T;
}

/** Load of the first and of the last tenth of `records` (at least one record each); null without records. */
export function firstAndLastTenth(
  records: readonly RoutingRecord[],
  layers: number,
  experts: number,
): { first: LoadWindow; last: LoadWindow } | null {
  const tenth = Math.ceil(records.length / 10);
  const first = windowOf(records.slice(0, tenth), layers, experts);
  const last = windowOf(records.slice(-tenth), layers, experts);
  return first && last && { first, last };
}

function windowOf(records: readonly RoutingRecord[], layers: number, experts: number): LoadWindow | null {
  const [start, end] = [records[0], records.at(-1)];
  if (!start || !end) return null;
  const share_LE = Array.from({ length: layers }, () => new Float64Array(experts));
  const counts_LE = Array.from({ length: layers }, () => new Float64Array(experts));
  for (const { counts_LE: counts } of records) {
    for (let l = 0; l < layers; l++) {
      const counts_E = layerOf(counts, l, experts);
      if (!hasLoad(counts_E)) continue;
      add(share_LE[l], shares(counts_E), 1 / records.length);
      add(counts_LE[l], counts_E, 1);
    }
  }
  return { fromStep: start.step, toStep: end.step, records: records.length, share_LE, counts_LE };
}

/** sum += factor · values. */
function add(sum: Float64Array | undefined, values: ArrayLike<number>, factor: number): void {
  if (!sum) return;
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + factor * (values[i] ?? 0);
}

/** Mean over `records` of each layer's Gini coefficient; empty without records. */
export function meanGini_L(records: readonly RoutingRecord[], layers: number, experts: number): number[] {
  if (records.length === 0) return [];
  return Array.from({ length: layers }, (_, l) => {
    const loads = records.map((record) => layerOf(record.counts_LE, l, experts)).filter(hasLoad);
    return loads.length === 0 ? 0 : loads.reduce((sum, counts_E) => sum + gini(counts_E), 0) / loads.length;
  });
}

/** Jensen–Shannon divergence of each layer's load between the first and last tenth; empty with fewer than two records. */
export function drift_L(records: readonly RoutingRecord[], layers: number, experts: number): number[] {
  const tenths = records.length < 2 ? null : firstAndLastTenth(records, layers, experts);
  if (!tenths) return [];
  return tenths.first.share_LE.map((share_E, l) => {
    const last_E = tenths.last.share_LE[l] ?? share_E;
    return hasLoad(share_E) && hasLoad(last_E) ? jensenShannon(share_E, last_E) : 0;
  });
}
