/** Balancing losses whose gradient runs through the gate weights as applied: `Σ_e slope_e · mean_t w_te`. */
import type { LayerRouting, LayerRoutingGradient, RoutingLoss } from '#worker/model/index.ts';
import { realTokens } from './routing-losses.ts';

/**
 * The loss of one layer, over its real tokens; mean over layers.
 * @param slopes what each expert's mean weight counts, from how many tokens it has; constants to the gradient.
 */
function gateLoss(
  name: string,
  coefficient: number,
  slopes: (count_E: Float64Array, tokens: number) => Float64Array,
): RoutingLoss {
  return {
    name,
    coefficient,
    accumulation: 'mean',
    evaluate(layers) {
      let value = 0;
      const gradients = layers.map((layer): LayerRoutingGradient => {
        const { experts, tokens, mask_N, weights_NE: applied_NE } = layer;
        const real = realTokens(layer);
        const slope_E = slopes(countsOf(layer), real);
        const weights_NE = new Float32Array(tokens * experts);
        for (let at = 0; at < weights_NE.length; at++) {
          if (mask_N[Math.floor(at / experts)] === 0) continue;
          const slope = (slope_E[at % experts] as number) / (real * layers.length);
          value += slope * (applied_NE[at] as number);
          weights_NE[at] = slope;
        }
        return { probabilities_NE: null, logSumExp_N: null, weights_NE };
      });
      return { value, gradients };
    },
  };
}

/** How many real tokens each expert has. */
function countsOf({ experts, mask_N, multiplicity_NE }: LayerRouting): Float64Array {
  const count_E = new Float64Array(experts);
  multiplicity_NE.forEach((count, at) => {
    const e = at % experts;
    if (count !== 0 && mask_N[Math.floor(at / experts)] === 1) count_E[e] = (count_E[e] as number) + 1;
  });
  return count_E;
}

/** The balancing loss of EvoMoE's gate (Nie et al. 2021, arXiv 2112.14397): `E² · mean_e(mean_t w_e · mean_t chosen_e)`. */
export function gateBalancingLoss(coefficient: number): RoutingLoss {
  return gateLoss('gate balancing', coefficient, (count_E, tokens) =>
    count_E.map((count) => (count_E.length * count) / tokens),
  );
}

/**
 * The balancing loss of StableMoE (Dai et al. 2022, arXiv 2204.08396): `Σ_e (n_e − n̄) / n̄ · Σ_{t∈e} w_te` with n_e the tokens
 * of an expert; here mean over tokens, as the cross-entropy beside it is.
 */
export function loadDeviationLoss(coefficient: number): RoutingLoss {
  return gateLoss('load deviation', coefficient, (count_E) => {
    const mean = count_E.reduce((sum, count) => sum + count, 0) / count_E.length;
    return count_E.map((count) => (count - mean) / mean);
  });
}
