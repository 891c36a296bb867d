/** Auxiliary losses on routing, for any method that trains the router. */
import { invariant } from '#core/contract/errors.ts';
import type { GeneralSample, LayerRouting, LayerRoutingGradient, RoutingLoss } from '#worker/model/index.ts';

/** Adds up `[tokens, experts]` probabilities over real tokens, in double precision. */
function probabilitySums(layer: LayerRouting): Float64Array {
  const sums_E = new Float64Array(layer.experts);
  for (let token = 0; token < layer.tokens; token++) {
    if (layer.mask_N[token] === 0) continue;
    const base = token * layer.experts;
    for (let e = 0; e < layer.experts; e++)
      sums_E[e] = (sums_E[e] as number) + (layer.probabilities_NE[base + e] as number);
  }
  return sums_E;
}

/** Number of real tokens. */
export const realTokens = (layer: LayerRouting) => layer.mask_N.reduce((sum, m) => sum + m, 0);

/** `E · Σ_e f_e P_e` over one population of rows: f the chosen share (summing to k), P the mean probability. */
function balance(layers: readonly LayerRouting[]): { value: number; gradients: LayerRoutingGradient[] } {
  const experts = layers[0]?.experts ?? 0;
  const rows = layers.reduce((sum, layer) => sum + realTokens(layer), 0);
  const share_E = new Float64Array(experts);
  const mean_E = new Float64Array(experts);
  for (const layer of layers) {
    const sums_E = probabilitySums(layer);
    for (let e = 0; e < experts; e++) {
      share_E[e] = (share_E[e] as number) + (layer.counts_E[e] as number) / rows;
      mean_E[e] = (mean_E[e] as number) + (sums_E[e] as number) / rows;
    }
  }
  const value = experts * share_E.reduce((sum, share, e) => sum + share * (mean_E[e] as number), 0);
  const gradients = layers.map((layer): LayerRoutingGradient => {
    const probabilities_NE = new Float32Array(layer.tokens * experts);
    for (let token = 0; token < layer.tokens; token++) {
      if (layer.mask_N[token] === 0) continue;
      for (let e = 0; e < experts; e++)
        probabilities_NE[token * experts + e] = (experts * (share_E[e] as number)) / rows;
    }
    return { probabilities_NE, logSumExp_N: null };
  });
  return { value, gradients };
}

/**
 * The load-balancing loss of the Switch Transformer for k choices (Fedus et al. 2021), `E · Σ_e f_e P_e`; balanced
 * value k. Its gradient runs through the mean probabilities P only.
 * @param pooling `pooled`: rows of all layers are one population, as Hugging Face computes it; `perLayer`: mean over
 *   layers of the loss of each.
 */
export function loadBalancingLoss(
  coefficient: number,
  pooling: 'pooled' | 'perLayer',
  accumulation: 'mean' | 'sum',
): RoutingLoss {
  return {
    name: 'load balancing',
    coefficient,
    accumulation,
    evaluate(layers) {
      if (pooling === 'pooled') return balance(layers);
      const each = layers.map((layer) => balance([layer]));
      const scale = 1 / layers.length;
      return {
        value: each.reduce((sum, { value }) => sum + value * scale, 0),
        gradients: each.flatMap(({ gradients }) =>
          gradients.map((gradient) => ({
            probabilities_NE: gradient.probabilities_NE?.map((g) => g * scale) ?? null,
            logSumExp_N: null,
          })),
        ),
      };
    },
  };
}

/**
 * The sequence-wise balancing loss of DeepSeek-V2 (arXiv 2405.04434, equations 23 to 25): for each row of S tokens
 * `Σ_e (count_e · E / (S · k)) · mean_s p_e`, mean over rows, sum over layers; balanced value 1 for each layer. As in the
 * published code padding counts, and the choice counted is the one that was made.
 */
export function sequenceBalancingLoss(coefficient: number, accumulation: 'mean' | 'sum'): RoutingLoss {
  return {
    name: 'sequence balancing',
    coefficient,
    accumulation,
    readsPadding: true,
    evaluate(layers) {
      let value = 0;
      const gradients = layers.map((layer): LayerRoutingGradient => {
        const { rows, experts, probabilities_NE, choice } = layer;
        const length = layer.tokens / rows;
        const gradient_NE = new Float32Array(layer.tokens * experts);
        for (let row = 0; row < rows; row++) {
          const load_E = new Float64Array(experts);
          const own = choice.chosen_NK.subarray(row * length * choice.k, (row + 1) * length * choice.k);
          for (const e of own) load_E[e] = (load_E[e] as number) + experts / (length * choice.k);
          for (let at = row * length * experts; at < (row + 1) * length * experts; at++) {
            const slope = (load_E[at % experts] as number) / (length * rows);
            value += slope * (probabilities_NE[at] as number);
            gradient_NE[at] = slope;
          }
        }
        return { probabilities_NE: gradient_NE, logSumExp_N: null };
      });
      return { value, gradients };
    },
  };
}

/** The router z-loss of ST-MoE (Zoph et al. 2022): mean over real tokens and MoE layers of `logsumexp(z)²`. */
export function zLoss(coefficient: number, accumulation: 'mean' | 'sum'): RoutingLoss {
  return {
    name: 'router z',
    coefficient,
    accumulation,
    evaluate(layers) {
      let value = 0;
      const gradients = layers.map((layer): LayerRoutingGradient => {
        const scale = 1 / (realTokens(layer) * layers.length);
        const logSumExp_N = layer.logSumExp_N.map((lse, token) => {
          if (layer.mask_N[token] === 0) return 0;
          value += lse * lse * scale;
          return 2 * lse * scale;
        });
        return { probabilities_NE: null, logSumExp_N };
      });
      return { value, gradients };
    },
  };
}

/**
 * How far routing went from that of the routers as the checkpoint has them, on the same inputs, or on general data from that of
 * the untouched model: `mean_t KL(p⁰_t ‖ p_t)` over real tokens, in nats, mean over layers; p⁰ is a constant to the gradient.
 */
export function baseRoutingLoss(
  coefficient: number,
  accumulation: 'mean' | 'sum',
  general: GeneralSample | null = null,
): RoutingLoss {
  return {
    name: 'KL to base routing',
    coefficient,
    accumulation,
    readsBaseRouting: true,
    ...(general && { general }),
    evaluate(layers) {
      let value = 0;
      const gradients = layers.map((layer): LayerRoutingGradient => {
        const { experts, mask_N, probabilities_NE: now_NE, baseProbabilities_NE: base_NE } = layer;
        invariant(base_NE !== undefined, 'a loss that reads base routing is given it');
        const scale = 1 / (realTokens(layer) * layers.length);
        const probabilities_NE = now_NE.map((now, at) => {
          if (mask_N[Math.floor(at / experts)] === 0) return 0;
          const base = base_NE[at] as number;
          value += scale * base * (safeLog(base) - safeLog(now));
          return (-scale * base) / Math.max(now, LEAST);
        });
        return { probabilities_NE, logSumExp_N: null };
      });
      return { value, gradients };
    },
  };
}

/** `−Σ_e p_e log p_e`, in nats. */
function entropy(probabilities_E: Iterable<number>): number {
  let sum = 0;
  for (const p of probabilities_E) sum -= p * safeLog(p);
  return sum;
}

/** What a probability that underflowed is taken for. */
const LEAST = 1e-30;

/** A finite logarithm. */
function safeLog(p: number): number {
  return Math.log(Math.max(p, LEAST));
}

/**
 * The mutual-information loss of DS-MoE (Pan et al. 2024), `mean_t H(p_t) − H(mean_t p_t)` over real tokens, mean over
 * layers: low where each token is sure of its experts and all tokens together use them evenly. It lies between
 * −log(experts) and 0.
 */
export function mutualInformationLoss(coefficient: number, accumulation: 'mean' | 'sum'): RoutingLoss {
  return {
    name: 'mutual information',
    coefficient,
    accumulation,
    evaluate(layers) {
      let value = 0;
      const gradients = layers.map((layer): LayerRoutingGradient => {
        const rows = realTokens(layer);
        const scale = 1 / (rows * layers.length);
        const mean_E = probabilitySums(layer).map((sum) => sum / rows);
        value -= entropy(mean_E) / layers.length;
        const probabilities_NE = new Float32Array(layer.tokens * layer.experts);
        for (let token = 0; token < layer.tokens; token++) {
          if (layer.mask_N[token] === 0) continue;
          const base = token * layer.experts;
          value += scale * entropy(layer.probabilities_NE.subarray(base, base + layer.experts));
          for (let e = 0; e < layer.experts; e++) {
            // The two constants of the derivatives of p log p cancel.
            const own = safeLog(layer.probabilities_NE[base + e] as number);
            probabilities_NE[base + e] = scale * (safeLog(mean_E[e] as number) - own);
          }
        }
        return { probabilities_NE, logSumExp_N: null };
      });
      return { value, gradients };
    },
  };
}
