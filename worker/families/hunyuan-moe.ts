/** HunYuan MoE V1 (arXiv 2411.02265) and Hy3 (Tencent). */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertCount, expertFields, only, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, ofLayer, preNormLayer } from './decoder-parts.ts';
import { denseFirst, sigmoidMoe, sigmoidMoeFields, sigmoidMoeNames } from './sigmoid-moe.ts';
import { commonNames, sharedNames, storedBy } from './weight-names.ts';

const moeModule = (layer: number) => `model.layers.${layer}.mlp`;

const HunyuanConfig = z.object({
  ...decoderFields,
  num_experts: expertCount,
  moe_topk: z.union([positive, z.array(positive).min(1)]).default(1),
  intermediate_size: positive,
  use_qk_norm: z.boolean().default(true),
  rms_norm_eps: z.number().positive().default(1e-5),
});

/** HunYuan MoE V1: query and key are normalised per head after the rotation; one ungated shared expert. */
export const hunyuanV1Moe: Family = {
  name: 'hunyuan_v1_moe',
  architecture: 'HunYuanMoEV1ForCausalLM',
  plan(config) {
    const name = 'hunyuan_v1_moe';
    const c = readConfig(name, HunyuanConfig, config);
    const attention = groupedQuery(
      name,
      c,
      c.use_qk_norm ? { queryKeyNorm: { kind: 'rotated-head', epsilon: c.rms_norm_eps } } : {},
    );
    const k = (index: number) =>
      typeof c.moe_topk === 'number' ? c.moe_topk : ofLayer(name, 'moe_topk', c.moe_topk, index);
    return decoder(name, c, (index) =>
      preNormLayer(c.rms_norm_eps, attention, {
        kind: 'moe',
        ...expertsOf(name, { num_experts: c.num_experts, num_experts_per_tok: k(index) }),
        intermediate: c.intermediate_size,
        router: { scoring: 'softmax', normalise: true },
        shared: { intermediate: c.intermediate_size, gated: false },
      }),
    );
  },
  stored: storedBy({
    ...commonNames,
    ...sharedNames('mlp.shared_mlp'),
    router: ['model.layers.{L}.mlp.gate.wg.weight'],
    queryNorm: ['model.layers.{L}.self_attn.query_layernorm.weight'],
    keyNorm: ['model.layers.{L}.self_attn.key_layernorm.weight'],
  }),
  moeModule,
};

const Hy3Config = z.object({
  ...decoderFields,
  ...sigmoidMoeFields,
  ...expertFields,
  rms_norm_eps: z.number().positive().default(1e-5),
  router_scaling_factor: z.number().positive().default(1),
  route_norm: z.boolean().default(true),
  qk_norm: z.boolean().default(true),
  moe_router_use_sigmoid: only(true),
  moe_router_enable_expert_bias: only(true),
});

/** Hy3: DeepSeek-V3's router without groups behind attention with norms per head. */
export const hyV3: Family = {
  name: 'hy_v3',
  architecture: 'HYV3ForCausalLM',
  plan(config) {
    const c = readConfig('hy_v3', Hy3Config, config);
    const attention = groupedQuery(
      'hy_v3',
      c,
      c.qk_norm ? { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } } : {},
    );
    const moe = sigmoidMoe('hy_v3', c, { normalise: c.route_norm, scale: c.router_scaling_factor });
    return decoder(
      'hy_v3',
      c,
      denseFirst('hy_v3', c, () => attention, moe),
    );
  },
  stored: storedBy({
    ...sigmoidMoeNames,
    ...sharedNames('mlp.shared_mlp'),
    router: ['model.layers.{L}.mlp.router.gate.weight'],
    selectionBias: ['model.layers.{L}.mlp.expert_bias'],
  }),
  moeModule,
};
