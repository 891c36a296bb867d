/** Routing statistics of a micro-batch. */
import { topK, type Choice, type LayerRouting, type LayerUsage } from '#worker/model/index.ts';

/** Sums up what one layer's routing did. @param ids_N the token of each row; −1: padding. */
export function layerUsage(
  choice: Choice,
  scores_NE: Float32Array,
  weights_NE: Float32Array,
  ids_N: Int32Array,
  experts: number,
): LayerUsage {
  const soft_E = new Float64Array(experts);
  const softAll_E = new Float64Array(experts);
  const mass_E = new Float64Array(experts);
  const hard_E = new Uint32Array(experts);
  const hardAll_E = new Uint32Array(experts);
  for (let token = 0; token < ids_N.length; token++) {
    const real = ids_N[token] === -1 ? 0 : 1;
    const base = token * experts;
    for (let e = 0; e < experts; e++) {
      const score = scores_NE[base + e] as number;
      softAll_E[e] = (softAll_E[e] as number) + score;
      if (real === 0) continue;
      soft_E[e] = (soft_E[e] as number) + score;
      mass_E[e] = (mass_E[e] as number) + (weights_NE[base + e] as number);
    }
    for (let slot = 0; slot < choice.k; slot++) {
      const e = choice.chosen_NK[token * choice.k + slot] as number;
      if (e < 0) continue;
      hardAll_E[e] = (hardAll_E[e] as number) + 1;
      hard_E[e] = (hard_E[e] as number) + real;
    }
  }
  return {
    soft_E: Float32Array.from(soft_E),
    softAll_E: Float32Array.from(softAll_E),
    hard_E,
    hardAll_E,
    mass_E: Float32Array.from(mass_E),
    choice,
    ids_N,
  };
}

/** What auxiliary losses read of a layer. Their counts are made afresh on the raw probabilities, whatever was routed. */
export function layerRouting(
  layer: Omit<LayerRouting, 'counts_E' | 'tokens'>,
  expertsPerToken: number,
): LayerRouting {
  const { probabilities_NE, mask_N, experts } = layer;
  const tokens = mask_N.length;
  const counts_E = new Uint32Array(experts);
  topK(probabilities_NE, tokens, experts, expertsPerToken).forEach((e, slot) => {
    counts_E[e] = (counts_E[e] as number) + (mask_N[Math.floor(slot / expertsPerToken)] as number);
  });
  return { ...layer, tokens, counts_E };
}
