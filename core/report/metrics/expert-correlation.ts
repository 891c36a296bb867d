/** How alike the experts of a layer are: who is chosen together, whose outputs and whose weights point the same way. */
import { invariant } from '#core/contract/errors.ts';
import type { RoutingSum } from './token-routing.ts';

/**
 * φ, the Pearson correlation of the columns of the choice matrix, `[E × E]`:
 * (N·n_ij − n_i·n_j) / √(n_i (N − n_i) n_j (N − n_j)). An expert chosen always or never correlates 0 with the others and 1
 * with itself.
 */
export function coSelection_EE({
  experts,
  tokens,
  counts_E,
  together_EE,
}: Pick<RoutingSum, 'experts' | 'tokens' | 'counts_E' | 'together_EE'>): Float64Array {
  const spread_E = counts_E.map((count) => count * (tokens - count));
  return Float64Array.from(together_EE, (both, at) => {
    const [i, j] = [Math.floor(at / experts), at % experts];
    if (i === j) return 1;
    const size = Math.sqrt((spread_E[i] as number) * (spread_E[j] as number));
    return size === 0 ? 0 : (tokens * both - (counts_E[i] as number) * (counts_E[j] as number)) / size;
  });
}

/** Cosines of vectors `[E × width]` with each other, `[E × E]`; a zero vector has cosine 0 with others and itself. */
export function cosines_EE(vectors: ArrayLike<number>, experts: number): Float64Array {
  const width = vectors.length / experts;
  const dot = (i: number, j: number) => {
    let sum = 0;
    for (let c = 0; c < width; c++)
      sum += (vectors[i * width + c] as number) * (vectors[j * width + c] as number);
    return sum;
  };
  const norm_E = Float64Array.from({ length: experts }, (_, e) => Math.sqrt(dot(e, e)));
  const cosines = new Float64Array(experts * experts);
  for (let i = 0; i < experts; i++) {
    for (let j = 0; j <= i; j++) {
      const size = (norm_E[i] as number) * (norm_E[j] as number);
      const cosine = size === 0 ? 0 : dot(i, j) / size;
      cosines[i * experts + j] = cosine;
      cosines[j * experts + i] = cosine;
    }
  }
  return cosines;
}

/** Mean over tokens of the cosines of expert outputs: every expert on every token. */
export class OutputCosines {
  readonly experts: number;
  #tokens = 0;
  readonly #sum_EE: Float64Array;

  constructor(experts: number) {
    this.experts = experts;
    this.#sum_EE = new Float64Array(experts * experts);
  }

  /** Adds one token. @param outputs_EH what each expert makes of it. */
  add(outputs_EH: ArrayLike<number>): void {
    cosines_EE(outputs_EH, this.experts).forEach((cosine, at) => {
      this.#sum_EE[at] = (this.#sum_EE[at] as number) + cosine;
    });
    this.#tokens++;
  }

  /** `[E × E]`; there must have been a token. */
  mean_EE(): Float64Array {
    invariant(this.#tokens > 0, 'output cosines of no token');
    return this.#sum_EE.map((sum) => sum / this.#tokens);
  }
}

/**
 * Mean correlation of condensers with the least used half of the other experts: the condensation test compares it before
 * and after the second phase. Null without condensers.
 */
export function condenserTailCorrelation(
  correlation_EE: ArrayLike<number>,
  counts_E: ArrayLike<number>,
  condensers: readonly number[],
): number | null {
  const experts = counts_E.length;
  const tail = Array.from({ length: experts }, (_, e) => e)
    .filter((e) => !condensers.includes(e))
    .sort((a, b) => (counts_E[a] as number) - (counts_E[b] as number) || a - b)
    .slice(0, Math.floor(experts / 2));
  const values = condensers.flatMap((i) => tail.map((j) => correlation_EE[i * experts + j] as number));
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
