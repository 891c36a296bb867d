/** Expert usage of one run minus that of another, layer by layer. */
import type { UsageComparison, UsageDifference } from '#core/contract/usage-difference.ts';
import { percent, significant } from '../format.ts';
import { firstAndLastTenth } from './load-windows.ts';
import { hasLoad, totalVariation } from '#core/load/load-metrics.ts';
import type { RunData } from '../run-data.ts';

/** Ends of the colour scale: few, so that maps of different pairs mostly share one. */
const LIMITS = [0.25, 0.5, 1, 2, 4];

/** Load of the last tenth of `other` minus that of `base`, both in multiples of the uniform load. */
export function usageDifference(base: RunData, other: RunData): UsageComparison {
  const [from, to] = [endLoad(base), endLoad(other)];
  if (!from || !base.facts) return { absent: unrecorded(base) };
  if (!to || !other.facts) return { absent: unrecorded(other) };
  const layers = base.facts.moeLayerIndices;
  const sameLayers = JSON.stringify(layers) === JSON.stringify(other.facts.moeLayerIndices);
  if (!sameLayers || base.facts.experts !== other.facts.experts) {
    const size = ({ facts }: RunData) =>
      facts === null ? '' : `${facts.moeLayers} layers of ${facts.experts} experts`;
    return {
      absent: `The experts do not correspond: “${base.summary.name}” has ${size(base)}, “${other.summary.name}” ${size(other)}.`,
    };
  }
  const difference_LE = to.load_LE.map((row_E, l) =>
    row_E.map((load, e) => rounded(load - (from.load_LE[l]?.[e] ?? 0))),
  );
  const moved_L = to.load_LE.map((row_E, l) => {
    const base_E = from.load_LE[l] ?? [];
    return hasLoad(row_E) && hasLoad(base_E) ? totalVariation(base_E, row_E) : 0;
  });
  const largest = Math.max(0, ...difference_LE.map((row_E) => Math.max(...row_E.map(Math.abs))));
  const shown = { layers, difference_LE, moved_L };
  return {
    ...shown,
    experts: base.facts.experts,
    base: from,
    other: to,
    limit: LIMITS.find((limit) => limit >= largest) ?? 2 ** Math.ceil(Math.log2(largest)),
    words: inWords(shown),
  };
}

const unrecorded = ({ summary }: RunData) => `“${summary.name}” has no record of its expert usage.`;

function endLoad({ summary, facts, routing }: RunData): UsageDifference['base'] | null {
  const last = facts && firstAndLastTenth(routing, facts.moeLayers, facts.experts)?.last;
  if (!facts || !last || facts.moeLayers === 0) return null;
  const condensers = routing.at(-1)?.condensers;
  return {
    id: summary.id,
    name: summary.name,
    fromStep: last.fromStep,
    toStep: last.toStep,
    load_LE: last.share_LE.map((share_E) => [...share_E].map((share) => rounded(share * facts.experts))),
    condensers_L: last.share_LE.map((_, l) => [...(condensers?.[l] ?? [])]),
  };
}

/** Sampling noise is far above the fourth decimal, and the map travels as text. */
function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

/** Which layer and which experts differ most. */
function inWords({
  layers,
  difference_LE,
  moved_L,
}: Pick<UsageDifference, 'layers' | 'difference_LE' | 'moved_L'>): string[] {
  const cells = difference_LE.flatMap((row_E, l) => row_E.map((value, e) => ({ l, e, value })));
  const [most] = cells.toSorted((a, b) => b.value - a.value);
  const [least] = cells.toSorted((a, b) => a.value - b.value);
  const moved = moved_L.map((share, l) => ({ share, l })).toSorted((a, b) => b.share - a.share)[0];
  if (!most || !least || !moved || moved.share === 0) return ['Both runs use every expert alike.'];
  const mean = moved_L.reduce((sum, share) => sum + share, 0) / moved_L.length;
  const place = ({ l, e }: { l: number; e: number }) => `expert ${e} of layer ${layers[l] ?? l}`;
  return [
    `Layer ${layers[moved.l] ?? moved.l} differs most: ${percent(moved.share)} of its selections go to other experts; ` +
      `the mean over layers is ${percent(mean)}.`,
    `Most is gained by ${place(most)} (+${significant(most.value, 2)} × uniform), ` +
      `most lost by ${place(least)} (${significant(least.value, 2)} × uniform).`,
  ];
}
