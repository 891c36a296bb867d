/**
 * How unevenly a layer uses its experts.
 *
 * `counts_E`: selections of each of E experts (all k choices of every real token), or any other non-negative load such as
 * gate mass. `share_E`: counts divided by their sum. Natural logarithm throughout; a layer is never pooled with another.
 */
import { invariant } from '#core/contract/errors.ts';

// Plain loops below: a comparison reads thousands of records, and iterators cost ten times as much.
type Numbers = ArrayLike<number>;

/** Metrics of one layer's load. */
export interface LoadMetrics {
  /** 0 = uniform, towards 1 = one expert has all: (n + 1 − 2·Σᵢ cumsum(sorted)ᵢ / Σ) / n. */
  readonly gini: number;
  /** −Σ s ln s / ln E: 1 = uniform, 0 = one expert has all. */
  readonly entropyNormalised: number;
  /** exp(−Σ s ln s): as many uniformly used experts have the same entropy. */
  readonly effectiveExperts: number;
  /** Population standard deviation ÷ mean. */
  readonly coefficientOfVariation: number;
  readonly maxOverMean: number;
  /** Share of the ⌊E/2⌋ least used experts; uniform: ½ for even E. */
  readonly tailHalfShare: number;
  /** Share of the ⌊E/4⌋ least used experts. */
  readonly tailQuarterShare: number;
  /** Experts without a selection. */
  readonly dead: number;
  /** Experts below a tenth of the mean, dead ones included. */
  readonly belowTenthOfMean: number;
  /** Size of the smallest set of experts that has half of the selections. */
  readonly expertsForHalf: number;
}

/** Sum of a list. */
function total(values: Numbers): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ?? 0;
  return sum;
}

/** True where a layer has any selection; the metrics below need one. */
export function hasLoad(counts_E: Numbers): boolean {
  return total(counts_E) > 0;
}

/** `counts_E` divided by their sum. */
export function shares(counts_E: Numbers): Float64Array {
  const sum = total(counts_E);
  invariant(sum > 0, 'shares of a layer without selections');
  const share_E = new Float64Array(counts_E.length);
  for (let e = 0; e < share_E.length; e++) share_E[e] = (counts_E[e] ?? 0) / sum;
  return share_E;
}

/** All metrics of one layer. */
export function loadMetrics(counts_E: Numbers): LoadMetrics {
  const share_E = shares(counts_E);
  const experts = share_E.length;
  const ascending = share_E.toSorted();
  const mean = 1 / experts;
  const entropy = total(share_E.map((s) => (s > 0 ? s * Math.log(1 / s) : 0)));
  const variance = total(share_E.map((s) => (s - mean) ** 2)) / experts;
  let half = 0;
  let expertsForHalf = 0;
  // A share of exactly one half is reached despite rounding.
  for (let i = experts - 1; i >= 0 && half < 0.5 - 1e-12; i--) {
    half += ascending[i] ?? 0;
    expertsForHalf++;
  }
  return {
    gini: gini(counts_E),
    entropyNormalised: experts > 1 ? entropy / Math.log(experts) : 1,
    effectiveExperts: Math.exp(entropy),
    coefficientOfVariation: Math.sqrt(variance) / mean,
    maxOverMean: (ascending[experts - 1] ?? 0) / mean,
    tailHalfShare: total(ascending.subarray(0, Math.floor(experts / 2))),
    tailQuarterShare: total(ascending.subarray(0, Math.floor(experts / 4))),
    dead: share_E.filter((s) => s === 0).length,
    belowTenthOfMean: share_E.filter((s) => s < 0.1 * mean).length,
    expertsForHalf,
  };
}

/** Gini coefficient of a load: (n + 1 − 2·Σᵢ cumsum(sorted)ᵢ / Σ) / n; 0 when nothing was counted. */
export function gini(counts_E: Numbers): number {
  const ascending = Float64Array.from(counts_E).sort();
  let cumulative = 0;
  let sum = 0;
  for (let i = 0; i < ascending.length; i++) {
    cumulative += ascending[i] ?? 0;
    sum += cumulative;
  }
  return cumulative === 0 ? 0 : (ascending.length + 1 - (2 * sum) / cumulative) / ascending.length;
}

/** Share of the `n` most used experts. */
export function topShare(counts_E: Numbers, n: number): number {
  const ascending = shares(counts_E).toSorted();
  return total(ascending.subarray(Math.max(0, ascending.length - n)));
}

/** Experts without a selection, always-active ones (`condensers`) left out: those get every token and are no choice. */
export function deadExperts(counts_E: Numbers, condensers: readonly number[] = []): number[] {
  if (!hasLoad(counts_E)) return [];
  return Array.from(counts_E, (_, e) => e).filter((e) => counts_E[e] === 0 && !condensers.includes(e));
}

/** The most used expert; of equal ones the first. */
export function heaviest(counts_E: Numbers): number {
  let best = 0;
  for (let e = 1; e < counts_E.length; e++) if ((counts_E[e] ?? 0) > (counts_E[best] ?? 0)) best = e;
  return best;
}

/** Times the uniform load from which an expert counts as overloaded. */
export const OVERLOAD = 2;

/** Experts with more than `ratio` times the uniform load, most loaded first. */
export function overloaded(counts_E: Numbers, ratio: number): number[] {
  const share_E = shares(counts_E);
  return [...share_E.keys()]
    .filter((e) => (share_E[e] ?? 0) * share_E.length > ratio)
    .sort((a, b) => (share_E[b] ?? 0) - (share_E[a] ?? 0));
}

/** Kullback–Leibler divergence Σ p ln(p/q) in nats, of two loads of the same experts; infinite where q lacks an expert of p. */
export function klDivergence(p_E: Numbers, q_E: Numbers): number {
  return divergencesOf(shares(p_E), shares(q_E)).kl;
}

/** Jensen–Shannon divergence in nats with equal weights, 0 … ln 2: ½ KL(p‖m) + ½ KL(q‖m), m = (p + q) / 2. */
export function jensenShannon(p_E: Numbers, q_E: Numbers): number {
  return divergencesOf(shares(p_E), shares(q_E)).js;
}

/** Total variation distance ½ Σ |p − q|, 0 … 1: the share of selections that moved to other experts. */
export function totalVariation(p_E: Numbers, q_E: Numbers): number {
  return divergencesOf(shares(p_E), shares(q_E)).tv;
}

/** The three divergences of two distributions over the same experts, each with the sum 1. */
export function divergencesOf(
  p_E: Float64Array,
  q_E: Float64Array,
): { readonly kl: number; readonly js: number; readonly tv: number } {
  invariant(p_E.length === q_E.length, `loads of ${p_E.length} and ${q_E.length} experts cannot be compared`);
  let [kl, js, tv] = [0, 0, 0];
  for (let e = 0; e < p_E.length; e++) {
    const [p, q] = [p_E[e] as number, q_E[e] as number];
    const middle = (p + q) / 2;
    if (p > 0) {
      kl += p * Math.log(p / q);
      js += (p * Math.log(p / middle)) / 2;
    }
    if (q > 0) js += (q * Math.log(q / middle)) / 2;
    tv += Math.abs(p - q) / 2;
  }
  return { kl, js, tv };
}
