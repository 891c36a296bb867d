/**
 * Units of profiled experts that answer to refused requests more than to benign ones, in the base and in the tuned model. Numbers
 * only: which units they are is forgotten. After the profiling of GateBreaker (arXiv 2512.21008), for the audit alone.
 */
import type { UnitAudit } from '#core/contract/audit.ts';

/** A unit stands out by so many standard deviations of its projection. */
const DEVIATIONS = 2;

/** Mean peaks of the units of a projection, by kind of request. */
export interface ProjectionPeaks {
  readonly refused: Float64Array;
  readonly benign: Float64Array;
}

/** Units whose difference is positive and stands out among those of their projection. */
function localised({ refused, benign }: ProjectionPeaks): boolean[] {
  const difference = [...refused].map((peak, unit) => peak - (benign[unit] ?? 0));
  const mean = difference.reduce((sum, d) => sum + d, 0) / difference.length;
  const variance = difference.reduce((sum, d) => sum + (d - mean) ** 2, 0) / difference.length;
  // Where nothing varies, nothing stands out.
  const limit = mean + DEVIATIONS * Math.sqrt(variance);
  return difference.map((d) => variance > 0 && d > 0 && d > limit);
}

/**
 * Compares the projections of a layer's profiled experts in both models.
 * @returns null where no expert is profiled.
 */
export function auditUnits(
  base: readonly ProjectionPeaks[],
  tuned: readonly ProjectionPeaks[],
): UnitAudit | null {
  const [before, after] = [base.flatMap(localised), tuned.flatMap(localised)];
  if (before.length === 0) return null;
  const count = (units: readonly boolean[]) => units.filter(Boolean).length;
  const both = count(before.map((unit, at) => unit && (after[at] ?? false)));
  const either = count(before) + count(after) - both;
  return {
    units: before.length,
    localisedBase: count(before),
    localisedTuned: count(after),
    jaccard: either === 0 ? 1 : both / either,
  };
}

/** The units of all layers in a sentence; none where no expert is profiled. */
export function unitWords(layers: readonly (UnitAudit | null)[]): string[] {
  const present = layers.filter((layer) => layer !== null);
  if (present.length === 0) return [];
  const sum = (of: (layer: UnitAudit) => number) => present.reduce((total, layer) => total + of(layer), 0);
  const [units, before, after] = [
    sum((l) => l.units),
    sum((l) => l.localisedBase),
    sum((l) => l.localisedTuned),
  ];
  const share = (count: number) => `${((100 * count) / units).toFixed(1)} %`;
  const mean = sum((l) => l.jaccard) / present.length;
  return [
    `In the profiled experts ${before} of ${units} units (${share(before)}) answer to refused requests more than to benign ones in the base model, ${after} (${share(after)}) in the tuned one; the two sets overlap by ${mean.toFixed(2)} (mean of Jaccard over layers).`,
  ];
}
