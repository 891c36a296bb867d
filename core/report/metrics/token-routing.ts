/**
 * What a router did to the tokens of one layer, and how far another router differs on the same tokens.
 *
 * `logits_NE` are N × E, before any softmax; `chosen_NK` the k experts of each token by falling score, −1 where it has
 * fewer. Probabilities are
 * softmax(logits) in float64, whatever the family makes gate weights of. Only tokens that `counts` admits are read.
 */
import { invariant } from '#core/contract/errors.ts';
import { divergencesOf } from '#core/load/load-metrics.ts';

/** One layer's routing of some tokens. */
export interface TokenRouting {
  readonly logits_NE: Float32Array;
  readonly chosen_NK: ArrayLike<number>;
  readonly k: number;
  /** Gate weights as applied; absent: the probabilities of the chosen experts. */
  readonly weights_NE?: Float32Array;
}

/** Which tokens to read: real ones, or those of completions. */
export type TokenFilter = (token: number) => boolean;

/** softmax of row `token`, in float64. */
function probabilities_E(logits_NE: Float32Array, token: number, experts: number): Float64Array {
  const row_E = Float64Array.from(logits_NE.subarray(token * experts, (token + 1) * experts));
  const largest = row_E.reduce((max, value) => Math.max(max, value), -Infinity);
  const exponentials = row_E.map((value) => Math.exp(value - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

function addTo(array: Float64Array, at: number, value: number): void {
  array[at] = (array[at] as number) + value;
}

function chosenOf({ chosen_NK, k }: TokenRouting, token: number): number[] {
  const slots = Array.from({ length: k }, (_, slot) => chosen_NK[token * k + slot] as number);
  return slots.filter((expert) => expert >= 0);
}

/** Usage of one layer's experts, added up over batches. */
export class RoutingSum {
  readonly experts: number;
  tokens = 0;
  /** Selections; always-active experts are no selections. */
  readonly counts_E: Float64Array;
  /** Σ of gate weights over the chosen experts. */
  readonly mass_E: Float64Array;
  /** Σ of probabilities over all experts. */
  readonly soft_E: Float64Array;
  /** Tokens that chose both experts of a pair, `[E × E]`. */
  readonly together_EE: Float64Array;

  constructor(experts: number) {
    this.experts = experts;
    this.counts_E = new Float64Array(experts);
    this.mass_E = new Float64Array(experts);
    this.soft_E = new Float64Array(experts);
    this.together_EE = new Float64Array(experts * experts);
  }

  /** Adds the tokens of one batch that `counts` admits. */
  add(routing: TokenRouting, counts: TokenFilter): void {
    const { experts } = this;
    for (let token = 0; token * experts < routing.logits_NE.length; token++) {
      if (!counts(token)) continue;
      this.tokens++;
      const p_E = probabilities_E(routing.logits_NE, token, experts);
      p_E.forEach((p, e) => addTo(this.soft_E, e, p));
      const chosen = chosenOf(routing, token);
      for (const e of chosen) {
        addTo(this.counts_E, e, 1);
        addTo(this.mass_E, e, routing.weights_NE?.[token * experts + e] ?? (p_E[e] as number));
        for (const f of chosen) addTo(this.together_EE, e * experts + f, 1);
      }
    }
  }

  /** Share of the tokens that chose each expert: 0 … 1, adds up to k. */
  activationFrequency_E(): Float64Array {
    return this.counts_E.map((count) => count / this.tokens);
  }
}

/** How far a router differs from another on the same tokens; means over tokens. */
export interface RoutingDrift {
  /** KL(base ‖ other) of the probabilities, in nats. */
  readonly kl: number;
  /** Jensen–Shannon divergence, 0 … ln 2. */
  readonly js: number;
  /** Total variation, 0 … 1. */
  readonly tv: number;
  /** |A ∩ B| / |A ∪ B| of the chosen sets. */
  readonly topKJaccard: number;
  /** Share of tokens whose first choice is another expert. */
  readonly topOneFlipRate: number;
}

/** Drift of one layer, added up over batches. */
export class DriftSum {
  readonly experts: number;
  #tokens = 0;
  #kl = 0;
  #js = 0;
  #tv = 0;
  #jaccard = 0;
  #flips = 0;

  constructor(experts: number) {
    this.experts = experts;
  }

  /** Adds the tokens of one batch: `base` and `other` route the same ones. */
  add(base: TokenRouting, other: TokenRouting, counts: TokenFilter): void {
    const { experts } = this;
    invariant(base.logits_NE.length === other.logits_NE.length, 'both routers saw the same tokens');
    for (let token = 0; token * experts < base.logits_NE.length; token++) {
      if (!counts(token)) continue;
      this.#tokens++;
      const { kl, js, tv } = divergencesOf(
        probabilities_E(base.logits_NE, token, experts),
        probabilities_E(other.logits_NE, token, experts),
      );
      this.#kl += kl;
      this.#js += js;
      this.#tv += tv;
      const [a, b] = [chosenOf(base, token), chosenOf(other, token)];
      const both = a.filter((expert) => b.includes(expert)).length;
      this.#jaccard += both / Math.max(1, a.length + b.length - both);
      if (a[0] !== b[0]) this.#flips++;
    }
  }

  /** Means over the tokens seen; there must be one. */
  means(): RoutingDrift {
    const tokens = this.#tokens;
    invariant(tokens > 0, 'drift of no token');
    return {
      kl: this.#kl / tokens,
      js: this.#js / tokens,
      tv: this.#tv / tokens,
      topKJaccard: this.#jaccard / tokens,
      topOneFlipRate: this.#flips / tokens,
    };
  }
}
