/**
 * Phi-3.5-MoE (Abdin et al. 2024, arXiv 2404.14219): SparseMixer's gate weights for two experts, LayerNorm, biases on
 * attention and head, LongRoPE.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, invalidConfig, only, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery } from './decoder-parts.ts';
import { blockSparseNames } from './mixtral.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'phimoe';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  num_experts_per_tok: positive.default(2),
  intermediate_size: positive,
  rms_norm_eps: z.number().positive().default(1e-5),
  sliding_window: positive.nullish(),
  lm_head_bias: z.boolean().default(false),
  router_jitter_noise: z.number().min(0).default(0.01),
  input_jitter_noise: only(0),
});

/** Phi-3.5-MoE with the routing it has outside its own training: the best expert is taken, not drawn. */
export const phimoe: Family = {
  name,
  architecture: 'PhimoeForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    if (c.num_experts_per_tok !== 2)
      throw invalidConfig(name, `num_experts_per_tok is ${c.num_experts_per_tok}, and SparseMixer is for 2`);
    const norm = { kind: 'layer', epsilon: c.rms_norm_eps, bias: true } as const;
    const attention = groupedQuery(name, c, {
      ...(c.sliding_window && { window: c.sliding_window }),
    });
    const moe = {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: { scoring: 'softmax', normalise: false, sparseMixer: c.router_jitter_noise },
    } as const;
    const layer = { inputNorm: norm, attention, postAttentionNorm: norm, feedForward: moe };
    return decoder(name, c, () => layer, { finalNorm: norm, ...(c.lm_head_bias && { headBias: true }) });
  },
  stored: storedBy({
    ...commonNames,
    ...blockSparseNames,
    inputNormBias: ['model.layers.{L}.input_layernorm.bias'],
    postAttentionNormBias: ['model.layers.{L}.post_attention_layernorm.bias'],
    finalNormBias: ['model.norm.bias'],
    headBias: ['lm_head.bias'],
  }),
  moeModule: (layer) => `model.layers.${layer}.block_sparse_moe`,
};
