/** What a MoE layer did to a micro-batch, as methods and auxiliary losses are told it; copied, since the layer may not stay in memory. */
import { invariant } from '#core/contract/errors.ts';
import { topK, type Choice, type LayerRouting, type LayerUsage } from '#worker/model/index.ts';
import { realTokenIds } from '../batch.ts';
import type { Pass } from '../layer-stack.ts';
import type { MoeTrace } from './moe-runner.ts';

/** How the experts of a layer were used. */
export function usageOf(trace: MoeTrace, { batch, mask_N }: Pass): LayerUsage {
  const { choice, scores, weights, dispatch, meanOutput } = trace;
  return {
    ...layerUsage(choice, scores.data, weights.data, realTokenIds(batch, mask_N), dispatch.experts),
    ...(meanOutput && { meanOutput_EH: meanOutput.data.slice() }),
  };
}

/** What auxiliary losses read of a layer. @param expertsPerToken what its router chooses for a token. */
export function routingOf(trace: MoeTrace, { batch, mask_N }: Pass, expertsPerToken: number): LayerRouting {
  const { probabilities, baseProbabilities, logSumExp, dispatch, choice, weights } = trace;
  invariant(probabilities !== null && logSumExp !== null, 'auxiliary losses keep their inputs');
  return layerRouting(
    {
      experts: dispatch.experts,
      mask_N,
      probabilities_NE: probabilities.data.slice(),
      ...(baseProbabilities && { baseProbabilities_NE: baseProbabilities.data.slice() }),
      logSumExp_N: logSumExp.data.slice(),
      rows: batch.batch,
      choice,
      weights_NE: weights.data.slice(),
      multiplicity_NE: dispatch.multiplicity_NE.slice(),
    },
    expertsPerToken,
  );
}

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

/** Adds the counts of auxiliary losses, which are made afresh on the raw probabilities, whatever was routed. */
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
