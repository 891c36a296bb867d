/**
 * Cohere2 MoE: attention and experts (or the MLP of the first, dense layers) read one LayerNorm without bias and are added up;
 * layers of experts that see everything have no positions.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, layerListFields, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, headDimOf, ofLayer } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { ropeOf } from './rope-config.ts';
import { commonNames, sharedNames, storedBy } from './weight-names.ts';

const name = 'cohere2_moe';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  ...layerListFields,
  num_experts_per_tok: positive.default(2),
  intermediate_size: positive,
  num_shared_experts: z.int().min(0).max(64).default(0),
  shared_expert_combination_strategy: z.enum(['average', 'sum']).default('average'),
  first_k_dense_replace: z.int().min(0).max(512).default(0),
  prefix_dense_intermediate_size: positive.nullish(),
  prefix_dense_sliding_window_pattern: positive.default(1),
  sliding_window: positive.default(4096),
  sliding_window_pattern: positive.default(4),
  expert_selection_fn: z.enum(['softmax', 'sigmoid']).default('softmax'),
  norm_topk_prob: z.boolean().default(true),
  rms_norm_eps: z.number().positive().nullish(),
  layer_norm_eps: z.number().positive().default(1e-5),
  logit_scale: z.number().positive().default(0.0625),
  tie_word_embeddings: z.boolean().default(true),
});

/** Cohere2 MoE; dense layers and shared experts after the class of transformers 5, which has no published checkpoint here. */
export const cohere2Moe: Family = {
  name,
  architecture: 'Cohere2MoeForCausalLM',
  plan(config) {
    const { rms_norm_eps: rms, ...own } = readConfig(name, Config, config);
    // The dense layers have a pattern of their own, and that of the others begins behind them.
    const prefix = own.first_k_dense_replace;
    const byPattern = Array.from({ length: own.num_hidden_layers }, (_, index) => {
      const [at, pattern] =
        index < prefix
          ? [index, own.prefix_dense_sliding_window_pattern]
          : [index - prefix, own.sliding_window_pattern];
      return (at + 1) % pattern === 0 ? 'full_attention' : 'sliding_attention';
    });
    const c = {
      ...own,
      rms_norm_eps: rms ?? own.layer_norm_eps,
      layer_types: own.layer_types ?? byPattern,
    };
    const norm = { kind: rms ? 'rms' : 'layer', epsilon: c.rms_norm_eps } as const;
    const rope = ropeOf(name, c, headDimOf(name, c), { layout: 'interleaved' });
    const full = groupedQuery(name, c, { rope: null });
    const rotatedFull = groupedQuery(name, c, { rope });
    const sliding = groupedQuery(name, c, { rope, ...windowOf(c) });
    const isDense = (index: number) =>
      c.mlp_layer_types
        ? ofLayer(name, 'mlp_layer_types', c.mlp_layer_types, index) === 'dense'
        : index < prefix;
    const attentionOf = (index: number) => {
      if (layerTypeOf(name, c, index) === 'sliding_attention') return sliding;
      return isDense(index) && c.prefix_dense_sliding_window_pattern === 1 ? rotatedFull : full;
    };
    const averaged = c.num_shared_experts > 0 && c.shared_expert_combination_strategy === 'average';
    const moe = {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: {
        scoring: c.expert_selection_fn,
        normalise: c.expert_selection_fn === 'softmax' || c.norm_topk_prob,
      },
      ...(c.num_shared_experts > 0 && {
        shared: {
          intermediate: c.num_shared_experts * c.intermediate_size,
          gated: false,
          ...(averaged && { scale: 0.5 }),
        },
      }),
      ...(averaged && { routedScale: 0.5 }),
    } as const;
    const dense = {
      kind: 'dense',
      intermediate: c.prefix_dense_intermediate_size ?? c.intermediate_size,
    } as const;
    return decoder(
      name,
      c,
      (index) => ({
        inputNorm: norm,
        attention: attentionOf(index),
        postAttentionNorm: norm,
        feedForward: isDense(index) ? dense : moe,
        parallel: true,
      }),
      { finalNorm: norm, logitScale: c.logit_scale },
    );
  },
  stored: storedBy({ ...commonNames, ...sharedNames('mlp.shared_experts') }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
