/** How much experts learn: gradient norms, and in how many steps they had a token. */

/** Gradient starvation of one layer. */
export interface Starvation {
  /** Median gradient norm of the ⌊n/2⌋ experts with the smallest. */
  readonly medianBottomHalf: number;
  /** Median gradient norm of the ⌊n/4⌋ (at least one) experts with the largest. */
  readonly medianTopQuarter: number;
  /** Bottom ÷ top: 1 = all learn alike, 0 = half of them learn nothing. NaN where nothing has a gradient. */
  readonly ratio: number;
  /** Share of experts whose gradient is zero. */
  readonly zeroGradientRate: number;
}

/** Median; the mean of the two middle values of an even number. */
function median(ascending: readonly number[]): number {
  const last = ascending.length - 1;
  return ((ascending[Math.floor(last / 2)] ?? NaN) + (ascending[Math.ceil(last / 2)] ?? NaN)) / 2;
}

/**
 * ‖∂L/∂θ_e‖ of the experts of a layer, compared. Experts are of one size, so that norms need no division by √parameters.
 * @param norms_E after accumulation, before clipping; NaN: the expert does not train, and is left out.
 * @returns null where fewer than two experts train.
 */
export function starvation(norms_E: ArrayLike<number>): Starvation | null {
  const ascending = Array.from(norms_E)
    .filter((norm) => !Number.isNaN(norm))
    .sort((a, b) => a - b);
  if (ascending.length < 2) return null;
  const medianBottomHalf = median(ascending.slice(0, Math.floor(ascending.length / 2)));
  const medianTopQuarter = median(ascending.slice(-Math.max(1, Math.floor(ascending.length / 4))));
  return {
    medianBottomHalf,
    medianTopQuarter,
    ratio: medianBottomHalf / medianTopQuarter,
    zeroGradientRate: ascending.filter((norm) => norm === 0).length / ascending.length,
  };
}

/** Steps in which each expert had a token. @param counts one entry a step: tokens of each expert. */
export function effectiveUpdates_E(counts: readonly ArrayLike<number>[]): number[] {
  return Array.from(
    counts[0] ?? [],
    (_, e) => counts.filter((counts_E) => (counts_E[e] as number) > 0).length,
  );
}

/**
 * Steps of `steps` in which an expert is expected to have a token, were choices independent: T (1 − (1 − p)^N). For small N·p
 * that is T·N·p: an expert chosen rarely is updated as rarely.
 * @param p share of tokens that choose the expert. @param tokens N, tokens of a step.
 */
export function expectedUpdates(p: number, tokens: number, steps: number): number {
  return steps * (1 - (1 - p) ** tokens);
}
