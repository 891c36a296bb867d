/**
 * Cohere2 MoE: attention and experts read one LayerNorm without bias and are added up; layers that see everything have no
 * positions.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, layerListFields, only, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, headDimOf } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { ropeOf } from './rope-config.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'cohere2_moe';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  ...layerListFields,
  num_experts_per_tok: positive.default(2),
  intermediate_size: positive,
  num_shared_experts: only(0),
  first_k_dense_replace: only(0),
  sliding_window: positive.default(4096),
  sliding_window_pattern: positive.default(4),
  mlp_layer_types: z.array(z.literal('sparse', { error: 'only "sparse" is supported' })).nullish(),
  expert_selection_fn: z.enum(['softmax', 'sigmoid']).default('softmax'),
  norm_topk_prob: z.boolean().default(true),
  rms_norm_eps: z.number().positive().nullish(),
  layer_norm_eps: z.number().positive().default(1e-5),
  logit_scale: z.number().positive().default(0.0625),
  tie_word_embeddings: z.boolean().default(true),
});

/** Cohere2 MoE without dense layers and shared experts. */
export const cohere2Moe: Family = {
  name,
  architecture: 'Cohere2MoeForCausalLM',
  plan(config) {
    const { rms_norm_eps: rms, ...own } = readConfig(name, Config, config);
    const byPattern = Array.from({ length: own.num_hidden_layers }, (_, index) =>
      (index + 1) % own.sliding_window_pattern === 0 ? 'full_attention' : 'sliding_attention',
    );
    const c = {
      ...own,
      rms_norm_eps: rms ?? own.layer_norm_eps,
      layer_types: own.layer_types ?? byPattern,
    };
    const norm = { kind: rms ? 'rms' : 'layer', epsilon: c.rms_norm_eps } as const;
    const rope = ropeOf(name, c, headDimOf(name, c), { layout: 'interleaved' });
    const full = groupedQuery(name, c, { rope: null });
    const sliding = groupedQuery(name, c, { rope, ...windowOf(c) });
    const moe = {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: {
        scoring: c.expert_selection_fn,
        normalise: c.expert_selection_fn === 'softmax' || c.norm_topk_prob,
      },
    } as const;
    return decoder(
      name,
      c,
      (index) => ({
        inputNorm: norm,
        attention: layerTypeOf(name, c, index) === 'full_attention' ? full : sliding,
        postAttentionNorm: norm,
        feedForward: moe,
        parallel: true,
      }),
      { finalNorm: norm, logitScale: c.logit_scale },
    );
  },
  stored: storedBy(commonNames),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
