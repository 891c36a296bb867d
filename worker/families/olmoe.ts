/**
 * OLMoE (Muennighoff et al. 2024, arXiv 2409.02060).
 *
 * Query and key are normalised over the whole projection before the split into heads; gate weights are renormalised
 * only if `norm_topk_prob` says so (the published checkpoint: no).
 */
import { z } from 'zod';
import {
  inverseFrequencies,
  type DecoderPlan,
  type Family,
  type Parameter,
  type StoredTensor,
} from '#worker/model/index.ts';
import { readConfig, ropeTheta, tokenIds, unscaledRope } from './config-fields.ts';

const positive = z.int().positive();

const Config = z
  .object({
    vocab_size: positive,
    hidden_size: positive,
    intermediate_size: positive,
    num_hidden_layers: positive,
    num_attention_heads: positive,
    num_key_value_heads: positive.nullish(),
    num_experts: positive,
    num_experts_per_tok: positive,
    norm_topk_prob: z.boolean().default(false),
    rms_norm_eps: z.number().positive().default(1e-5),
    hidden_act: z.literal('silu').default('silu'),
    attention_bias: z.literal(false).default(false),
    clip_qkv: z.number().positive().nullish(),
    max_position_embeddings: positive.default(4096),
    tie_word_embeddings: z.boolean().default(false),
    pad_token_id: z.int().nullish(),
    eos_token_id: tokenIds,
    router_aux_loss_coef: z.number().nullish(),
    rope_theta: z.number().positive().nullish(),
    rope_scaling: unscaledRope,
    rope_parameters: unscaledRope,
  })
  .refine(
    (c) => c.hidden_size % c.num_attention_heads === 0,
    'hidden_size must be a multiple of num_attention_heads',
  )
  .refine(
    (c) => c.num_attention_heads % (c.num_key_value_heads ?? c.num_attention_heads) === 0,
    'num_attention_heads must be a multiple of num_key_value_heads',
  )
  .refine((c) => c.num_experts_per_tok <= c.num_experts, 'num_experts_per_tok must not exceed num_experts');

function plan(config: unknown): DecoderPlan {
  const c = readConfig('olmoe', Config, config);
  const headDim = c.hidden_size / c.num_attention_heads;
  const norm = { kind: 'rms', epsilon: c.rms_norm_eps } as const;
  const layer = {
    inputNorm: norm,
    attention: {
      kind: 'grouped-query',
      heads: c.num_attention_heads,
      keyValueHeads: c.num_key_value_heads ?? c.num_attention_heads,
      headDim,
      scale: headDim ** -0.5,
      queryKeyNorm: { kind: 'projection', epsilon: c.rms_norm_eps },
      clip: c.clip_qkv ?? null,
      rope: { layout: 'half', inverseFrequencies: inverseFrequencies(ropeTheta(c), headDim) },
    },
    postAttentionNorm: norm,
    feedForward: {
      kind: 'moe',
      experts: c.num_experts,
      expertsPerToken: c.num_experts_per_tok,
      intermediate: c.intermediate_size,
      router: { scoring: 'softmax', normalise: c.norm_topk_prob },
    },
  } as const;
  return {
    family: 'olmoe',
    vocabularySize: c.vocab_size,
    hiddenSize: c.hidden_size,
    maxPositions: c.max_position_embeddings,
    paddingId: c.pad_token_id ?? null,
    endIds: c.eos_token_id,
    layers: Array.from({ length: c.num_hidden_layers }, () => layer),
    finalNorm: norm,
    tiedHead: c.tie_word_embeddings,
    publishedAuxCoefficient: c.router_aux_loss_coef ?? null,
  };
}

function stored(parameter: Parameter, decoder: DecoderPlan): readonly StoredTensor[] {
  const layer = `model.layers.${parameter.layer}`;
  const one = (name: string): readonly StoredTensor[] => [{ name }];
  const expert = (projection: string, fused: string, half: 0 | 1 | null): readonly StoredTensor[] => {
    const experts = `${layer}.mlp.experts`;
    const index = parameter.expert ?? 0;
    const rows = parameter.shape[0] ?? 0;
    const fromRow = half === 1 ? rows : 0;
    return [
      { name: `${experts}.${index}.${projection}.weight` },
      { name: `${experts}.${fused}`, block: { index, fromRow, toRow: fromRow + rows } },
    ];
  };
  switch (parameter.role) {
    case 'embedding':
      return one('model.embed_tokens.weight');
    case 'finalNorm':
      return one('model.norm.weight');
    case 'head':
      return one(decoder.tiedHead ? 'model.embed_tokens.weight' : 'lm_head.weight');
    case 'inputNorm':
      return one(`${layer}.input_layernorm.weight`);
    case 'postAttentionNorm':
      return one(`${layer}.post_attention_layernorm.weight`);
    case 'query':
      return one(`${layer}.self_attn.q_proj.weight`);
    case 'key':
      return one(`${layer}.self_attn.k_proj.weight`);
    case 'value':
      return one(`${layer}.self_attn.v_proj.weight`);
    case 'output':
      return one(`${layer}.self_attn.o_proj.weight`);
    case 'queryNorm':
      return one(`${layer}.self_attn.q_norm.weight`);
    case 'keyNorm':
      return one(`${layer}.self_attn.k_norm.weight`);
    case 'router':
      return one(`${layer}.mlp.gate.weight`);
    case 'expertGate':
      return expert('gate_proj', 'gate_up_proj', 0);
    case 'expertUp':
      return expert('up_proj', 'gate_up_proj', 1);
    case 'expertDown':
      return expert('down_proj', 'down_proj', null);
  }
}

/** OLMoE in both config layouts and both expert layouts. */
export const olmoe: Family = {
  name: 'olmoe',
  architecture: 'OlmoeForCausalLM',
  plan,
  stored,
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
