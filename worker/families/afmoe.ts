/**
 * AFMoE (Arcee): norms before and behind both halves, a sigmoid gate on the context, DeepSeek-V3's router, windows by
 * layer; layers that see everything have no positions.
 */
import { z } from 'zod';
import type { Family, LayerPlan } from '#worker/model/index.ts';
import { decoderFields, layerListFields, only, positive, readConfig } from './config-fields.ts';
import { decoder, groupedQuery } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { sigmoidMoe, sigmoidMoeFields, sigmoidMoeNames } from './sigmoid-moe.ts';
import { storedBy } from './weight-names.ts';

const name = 'afmoe';

const Config = z.object({
  ...decoderFields,
  ...layerListFields,
  ...sigmoidMoeFields,
  intermediate_size: positive,
  num_dense_layers: z.int().min(0).default(1),
  score_func: only('sigmoid'),
  route_norm: z.boolean().default(true),
  route_scale: z.number().positive().default(1),
  mup_enabled: z.boolean().default(false),
  rms_norm_eps: z.number().positive().default(1e-5),
});

/** AFMoE. */
export const afmoe: Family = {
  name,
  architecture: 'AfmoeForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const norm = { kind: 'rms', epsilon: c.rms_norm_eps } as const;
    const changes = {
      queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps },
      outputGate: 'sigmoid',
    } as const;
    const full = groupedQuery(name, c, { ...changes, rope: null });
    const sliding = groupedQuery(name, c, { ...changes, ...windowOf(c) });
    const moe = sigmoidMoe(name, c, { normalise: c.route_norm, scale: c.route_scale });
    const dense = { kind: 'dense', intermediate: c.intermediate_size } as const;
    const layerOf = (index: number): LayerPlan => ({
      inputNorm: norm,
      attention: layerTypeOf(name, c, index) === 'full_attention' ? full : sliding,
      attentionOutputNorm: norm,
      postAttentionNorm: norm,
      feedForward: index < c.num_dense_layers ? dense : moe,
      feedForwardOutputNorm: norm,
    });
    return decoder(name, c, layerOf, c.mup_enabled ? { embeddingScale: Math.sqrt(c.hidden_size) } : {});
  },
  stored: storedBy({
    ...sigmoidMoeNames,
    attentionOutputNorm: ['model.layers.{L}.post_attention_layernorm.weight'],
    postAttentionNorm: ['model.layers.{L}.pre_mlp_layernorm.weight'],
    feedForwardOutputNorm: ['model.layers.{L}.post_mlp_layernorm.weight'],
    outputGate: ['model.layers.{L}.self_attn.gate_proj.weight'],
    router: ['model.layers.{L}.mlp.router.gate.weight'],
    selectionBias: ['model.layers.{L}.mlp.expert_bias'],
  }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
