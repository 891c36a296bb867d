/** Experts with massive outputs, the "super experts" of Su et al. 2025 (arXiv 2507.23279). */

/** Place of an expert. */
export interface ExpertPlace {
  /** Index among the MoE layers. */
  readonly layer: number;
  readonly expert: number;
}

/**
 * Experts whose largest output magnitude is above the 99.5th percentile of all experts (linear between ranks) and above a
 * tenth of the largest. Not to be confused with the experts that have half of the selections.
 * @param largest_LE largest |down-projection output| of each expert over the tokens it was chosen for; 0 for none.
 * @param layers MoE layers in which massive activations form; absent: all are looked at.
 */
export function massiveExperts(
  largest_LE: readonly ArrayLike<number>[],
  layers: readonly number[] = [...largest_LE.keys()],
): ExpertPlace[] {
  const ascending = largest_LE.flatMap((largest_E) => Array.from(largest_E)).sort((a, b) => a - b);
  const rank = 0.995 * (ascending.length - 1);
  const [below, above] = [ascending[Math.floor(rank)] ?? 0, ascending[Math.ceil(rank)] ?? 0];
  const percentile = below + (rank - Math.floor(rank)) * (above - below);
  const bound = Math.max(percentile, (ascending.at(-1) ?? 0) / 10);
  return layers.flatMap((layer) =>
    Array.from(largest_LE[layer] ?? [], (value, expert) => ({ layer, expert, value }))
      .filter(({ value }) => value > bound)
      .map(({ expert }) => ({ layer, expert })),
  );
}
