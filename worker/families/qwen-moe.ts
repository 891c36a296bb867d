/**
 * Qwen1.5-MoE / Qwen2-MoE and Qwen3-MoE (Yang et al., arXiv 2407.10671 and 2505.09388).
 *
 * Both have dense layers where `mlp_only_layers` or `decoder_sparse_step` says so. Qwen2-MoE has biases on query, key and
 * value and a shared expert behind a sigmoid gate; Qwen3-MoE normalises query and key per head.
 */
import { z } from 'zod';
import type {
  DecoderPlan,
  Family,
  FeedForwardPlan,
  GroupedQueryPlan,
  MoePlan,
  Parameter,
  StoredTensor,
} from '#worker/model/index.ts';
import { decoderFields, expertFields, invalidConfig, positive, readConfig, unread } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { qwenWindowFields, qwenWindowOf } from './layer-types.ts';
import { commonNames, sharedNames, storedBy } from './weight-names.ts';

const fields = {
  ...decoderFields,
  ...expertFields,
  intermediate_size: positive,
  moe_intermediate_size: positive,
  norm_topk_prob: z.boolean().default(false),
  decoder_sparse_step: positive.default(1),
  mlp_only_layers: z.array(z.int()).nullish(),
  ...qwenWindowFields,
};
const Config = z.object(fields);
const Qwen2Config = z.object({
  ...fields,
  shared_expert_intermediate_size: positive,
  less_is_moe: z
    .null({ error: 'experts of different widths (ragged) are read for qwen3_moe only' })
    .optional(),
});

/** Experts of different widths, as "Less is MoE" (arXiv 2606.05538) stores them: width of each expert, by decoder layer. */
const Ragged = z.object({
  format_version: z.literal(1),
  weight_layout: z.literal('flat_gate_up_down_v1'),
  expert_intermediate_sizes: z.record(z.string().regex(/^\d+$/), z.array(z.int().min(0))),
});
// Where there is a window, all layers have it.
const Qwen3Config = z.object({ ...fields, layer_types: unread, less_is_moe: Ragged.nullish() });

function planOf(
  name: string,
  c: z.output<typeof Config>,
  attentionChanges: Partial<GroupedQueryPlan>,
  moeChanges: Pick<MoePlan, 'shared'>,
  hasWindow: (index: number, maxWindowLayers: number) => boolean,
  sizes: z.output<typeof Ragged>['expert_intermediate_sizes'] | null = null,
): DecoderPlan {
  const attention = groupedQuery(name, c, attentionChanges);
  const layerOf = (index: number, feedForward: FeedForwardPlan) =>
    preNormLayer(c.rms_norm_eps, { ...attention, ...qwenWindowOf(name, c, index, hasWindow) }, feedForward);
  const moe: MoePlan = {
    kind: 'moe',
    ...expertsOf(name, c),
    intermediate: c.moe_intermediate_size,
    router: { scoring: 'softmax', normalise: c.norm_topk_prob },
    ...moeChanges,
  };
  const dense = { kind: 'dense', intermediate: c.intermediate_size } as const;
  const hasExperts = (index: number) =>
    !(c.mlp_only_layers ?? []).includes(index) && (index + 1) % c.decoder_sparse_step === 0;
  return decoder(name, c, (index) => {
    if (!hasExperts(index)) return layerOf(index, dense);
    if (sizes === null) return layerOf(index, moe);
    const widths = sizes[index];
    if (widths?.length === moe.experts)
      return layerOf(index, { ...moe, intermediate: Math.max(1, ...widths), widths });
    throw invalidConfig(
      name,
      `less_is_moe.expert_intermediate_sizes has ${widths?.length ?? 'no'} widths for layer ${index}, which has ${moe.experts} experts`,
    );
  });
}

/**
 * Where an expert lies in the two flat tensors of a ragged layer: gate and up of each expert one behind the other, and the
 * down matrices; undefined for other parameters and layers.
 */
function raggedPlace({ role, layer, expert, shape }: Parameter, plan: DecoderPlan): StoredTensor | undefined {
  const feedForward = plan.layers[layer ?? -1]?.feedForward;
  if (feedForward?.kind !== 'moe' || feedForward.widths === undefined || expert === null) return undefined;
  const before = feedForward.widths.slice(0, expert).reduce((sum, width) => sum + width, 0) * plan.hiddenSize;
  const isDown = role === 'expertDown';
  const within = role === 'expertUp' ? (shape[0] ?? 0) * plan.hiddenSize : 0;
  return {
    name: `model.layers.${layer}.mlp.experts.${isDown ? 'down_proj' : 'gate_up_proj'}`,
    block: { index: null, fromRow: 0, offset: isDown ? before : 2 * before + within },
  };
}

/** Qwen1.5-MoE and Qwen2-MoE. */
export const qwen2Moe: Family = {
  name: 'qwen2_moe',
  architecture: 'Qwen2MoeForCausalLM',
  plan(config) {
    const c = readConfig('qwen2_moe', Qwen2Config, config);
    const shared = { intermediate: c.shared_expert_intermediate_size, gated: true };
    const hasWindow = (index: number, maxWindowLayers: number) => index < maxWindowLayers && index % 2 === 0;
    return planOf('qwen2_moe', c, { biases: 'query-key-value' }, { shared }, hasWindow);
  },
  stored: storedBy({
    ...commonNames,
    ...sharedNames('mlp.shared_expert'),
    sharedMix: ['model.layers.{L}.mlp.shared_expert_gate.weight'],
  }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};

/** Qwen3-MoE. */
export const qwen3Moe: Family = {
  name: 'qwen3_moe',
  architecture: 'Qwen3MoeForCausalLM',
  plan(config) {
    const c = readConfig('qwen3_moe', Qwen3Config, config);
    const attention = { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } } as const;
    return planOf(
      'qwen3_moe',
      c,
      attention,
      {},
      () => true,
      c.less_is_moe?.expert_intermediate_sizes ?? null,
    );
  },
  stored(parameter, plan) {
    const ragged = raggedPlace(parameter, plan);
    return ragged === undefined ? storedBy(commonNames)(parameter, plan) : [ragged];
  },
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
