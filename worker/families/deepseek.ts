/**
 * DeepSeek-V2 (arXiv 2405.04434), DeepSeek-V3 (arXiv 2412.19437) and GLM-4.7-Flash (`glm4_moe_lite`): latent attention,
 * dense first layers, shared experts. Layers beyond `num_hidden_layers` (multi-token prediction) are left alone.
 */
import { z } from 'zod';
import type { Family, LatentPlan } from '#worker/model/index.ts';
import { decoderFields, only, positive, readConfig } from './config-fields.ts';
import { decoder } from './decoder-parts.ts';
import { latentScaleFactor, ropeOf } from './rope-config.ts';
import { denseFirst, routerGroups, sigmoidMoe, sigmoidMoeFields, sigmoidMoeNames } from './sigmoid-moe.ts';
import { storedBy, type WeightNames } from './weight-names.ts';

const fields = {
  ...decoderFields,
  ...sigmoidMoeFields,
  q_lora_rank: positive.nullish(),
  kv_lora_rank: positive,
  qk_nope_head_dim: positive,
  qk_rope_head_dim: positive,
  v_head_dim: positive,
};
const V2Config = z.object({
  ...fields,
  scoring_func: only('softmax'),
  topk_method: z.enum(['greedy', 'group_limited_greedy']).default('greedy'),
  mlp_bias: only(false),
  norm_topk_prob: z.boolean().default(false),
});
const V3Config = z.object({
  ...fields,
  scoring_func: only('sigmoid'),
  topk_method: only('noaux_tc'),
  rope_interleave: z.boolean().nullish(),
});

/** The compressed vectors are normalised with this ε whatever the config says. */
const LATENT_EPSILON = 1e-6;

type LatentConfig = Omit<z.output<typeof V3Config>, 'scoring_func' | 'topk_method'>;

function latentAttention(family: string, c: LatentConfig): LatentPlan {
  return {
    kind: 'latent',
    heads: c.num_attention_heads,
    queryRank: c.q_lora_rank ?? null,
    keyValueRank: c.kv_lora_rank,
    contentDim: c.qk_nope_head_dim,
    valueDim: c.v_head_dim,
    epsilon: LATENT_EPSILON,
    scale: (c.qk_nope_head_dim + c.qk_rope_head_dim) ** -0.5 * latentScaleFactor(c),
    rope: ropeOf(family, c, c.qk_rope_head_dim, {
      layout: c.rope_interleave === false ? 'half' : 'interleaved',
    }),
    ...(c.attention_bias === true && { biases: true }),
  };
}

/** Names of latent attention with direct queries. */
const names: WeightNames = {
  ...sigmoidMoeNames,
  queryDown: ['model.layers.{L}.self_attn.q_a_proj.weight'],
  queryDownBias: ['model.layers.{L}.self_attn.q_a_proj.bias'],
  queryDownNorm: ['model.layers.{L}.self_attn.q_a_layernorm.weight'],
  keyValueDown: ['model.layers.{L}.self_attn.kv_a_proj_with_mqa.weight'],
  keyValueDownBias: ['model.layers.{L}.self_attn.kv_a_proj_with_mqa.bias'],
  keyValueDownNorm: ['model.layers.{L}.self_attn.kv_a_layernorm.weight'],
  keyValueUp: ['model.layers.{L}.self_attn.kv_b_proj.weight'],
};
const direct = storedBy(names);
const compressed = storedBy({ ...names, query: ['model.layers.{L}.self_attn.q_b_proj.weight'] });

const stored: Family['stored'] = (parameter, plan) => {
  const attention = plan.layers[0]?.attention;
  const hasRank = attention?.kind === 'latent' && attention.queryRank !== null;
  return (hasRank ? compressed : direct)(parameter, plan);
};
const moeModule = (layer: number) => `model.layers.${layer}.mlp`;

/** DeepSeek-V2 and V2-Lite: softmax scores; a group is as good as its best expert. */
export const deepseekV2: Family = {
  name: 'deepseek_v2',
  architecture: 'DeepseekV2ForCausalLM',
  plan(config) {
    const c = readConfig('deepseek_v2', V2Config, config);
    const attention = latentAttention('deepseek_v2', c);
    const moe = sigmoidMoe('deepseek_v2', { ...c, n_group: 1 });
    const grouped = c.topk_method === 'group_limited_greedy';
    // As DeepSeek's own code has it: gate weights are either renormalised or scaled, never both.
    const router = {
      scoring: 'softmax',
      normalise: c.norm_topk_prob,
      ...(!c.norm_topk_prob && { scale: c.routed_scaling_factor }),
      ...(grouped && routerGroups('deepseek_v2', c, moe.experts, 1)),
    } as const;
    return decoder(
      'deepseek_v2',
      c,
      denseFirst('deepseek_v2', c, () => attention, { ...moe, router }),
    );
  },
  stored,
  moeModule,
};

function v3Family(name: string, architecture: string): Family {
  return {
    name,
    architecture,
    plan(config) {
      const c = readConfig(name, V3Config, config);
      const attention = latentAttention(name, c);
      return decoder(
        name,
        c,
        denseFirst(name, c, () => attention, sigmoidMoe(name, c)),
      );
    },
    stored,
    moeModule,
  };
}

/** DeepSeek-V3 and R1. */
export const deepseekV3 = v3Family('deepseek_v3', 'DeepseekV3ForCausalLM');
/** GLM-4.7-Flash. */
export const glm4MoeLite = v3Family('glm4_moe_lite', 'Glm4MoeLiteForCausalLM');
