/**
 * LFM2-MoE (Liquid AI): layers with gated short convolutions among layers with attention, a sigmoid router with a bias on
 * the choice.
 */
import { z } from 'zod';
import type { Family, GroupedQueryPlan } from '#worker/model/index.ts';
import { decoderFields, expertFields, only, positive, readConfig, unread } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, ofLayer, preNormLayer } from './decoder-parts.ts';
import { commonNames, expertNames, storedBy, type WeightNames } from './weight-names.ts';

const name = 'lfm2_moe';

const Config = z.object({
  ...decoderFields,
  attention_bias: unread,
  hidden_act: unread,
  ...expertFields,
  rope_theta: z.number().positive().nullish().default(1_000_000),
  intermediate_size: positive,
  moe_intermediate_size: positive,
  num_dense_layers: z.int().min(0).default(2),
  use_expert_bias: z.boolean().default(true),
  norm_topk_prob: z.boolean().default(true),
  routed_scaling_factor: z.number().positive().default(1),
  norm_eps: z.number().positive().default(1e-5),
  conv_L_cache: positive.default(3),
  conv_bias: only(false),
  layer_types: z.array(z.enum(['conv', 'full_attention'])),
  tie_word_embeddings: z.boolean().default(true),
  tie_embedding: z.boolean().nullish(),
});

const feedForward = 'model.layers.{L}.feed_forward';
const names: WeightNames = {
  ...commonNames,
  ...expertNames('feed_forward', ['w1', 'w3', 'w2']),
  finalNorm: ['model.embedding_norm.weight'],
  inputNorm: ['model.layers.{L}.operator_norm.weight'],
  postAttentionNorm: ['model.layers.{L}.ffn_norm.weight'],
  output: ['model.layers.{L}.self_attn.out_proj.weight'],
  queryNorm: ['model.layers.{L}.self_attn.q_layernorm.weight'],
  keyNorm: ['model.layers.{L}.self_attn.k_layernorm.weight'],
  router: [`${feedForward}.gate.weight`],
  selectionBias: [`${feedForward}.expert_bias`],
  denseGate: [`${feedForward}.w1.weight`],
  denseUp: [`${feedForward}.w3.weight`],
  denseDown: [`${feedForward}.w2.weight`],
};
const projections = { name: 'model.layers.{L}.conv.in_proj.weight', stack: false };
const ofAttention = storedBy(names);
const ofConvolution = storedBy({
  ...names,
  key: [{ ...projections, part: 0 }],
  query: [{ ...projections, part: 1 }],
  value: [{ ...projections, part: 2 }],
  convolution: ['model.layers.{L}.conv.conv.weight'],
  output: ['model.layers.{L}.conv.out_proj.weight'],
});

/** LFM2-MoE. */
export const lfm2Moe: Family = {
  name,
  architecture: 'Lfm2MoeForCausalLM',
  plan(config) {
    const { norm_eps, ...own } = readConfig(name, Config, config);
    const c = {
      ...own,
      rms_norm_eps: norm_eps,
      tie_word_embeddings: own.tie_embedding ?? own.tie_word_embeddings,
    };
    const attention = groupedQuery(name, c, { queryKeyNorm: { kind: 'head', epsilon: norm_eps } });
    const convolution: GroupedQueryPlan = {
      ...groupedQuery(name, c, { rope: null }),
      heads: 1,
      keyValueHeads: 1,
      headDim: c.hidden_size,
      window: c.conv_L_cache,
      convolution: c.conv_L_cache,
    };
    const dense = { kind: 'dense', intermediate: c.intermediate_size } as const;
    const moe = {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.moe_intermediate_size,
      router: {
        scoring: 'sigmoid',
        normalise: c.norm_topk_prob,
        normaliseEpsilon: 1e-6,
        scale: c.routed_scaling_factor,
        ...(c.use_expert_bias && ({ selectionBias: true } as const)),
      },
    } as const;
    return decoder(name, c, (index) =>
      preNormLayer(
        norm_eps,
        ofLayer(name, 'layer_types', c.layer_types, index) === 'conv' ? convolution : attention,
        index < c.num_dense_layers ? dense : moe,
      ),
    );
  },
  stored(parameter, plan) {
    const attention = parameter.layer === null ? undefined : plan.layers[parameter.layer]?.attention;
    const convolves = attention?.kind === 'grouped-query' && attention.convolution !== undefined;
    return (convolves ? ofConvolution : ofAttention)(parameter, plan);
  },
  moeModule: (layer) => `model.layers.${layer}.feed_forward`,
};
