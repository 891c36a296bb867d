/**
 * Qwen1.5-MoE / Qwen2-MoE and Qwen3-MoE (Yang et al., arXiv 2407.10671 and 2505.09388).
 *
 * Both have dense layers where `mlp_only_layers` or `decoder_sparse_step` says so. Qwen2-MoE has biases on query, key and
 * value and a shared expert behind a sigmoid gate; Qwen3-MoE normalises query and key per head.
 */
import { z } from 'zod';
import type { DecoderPlan, Family, GroupedQueryPlan, MoePlan } from '#worker/model/index.ts';
import { decoderFields, expertFields, only, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { commonNames, sharedNames, storedBy } from './weight-names.ts';

const fields = {
  ...decoderFields,
  ...expertFields,
  intermediate_size: positive,
  moe_intermediate_size: positive,
  norm_topk_prob: z.boolean().default(false),
  decoder_sparse_step: positive.default(1),
  mlp_only_layers: z.array(z.int()).nullish(),
  use_sliding_window: only(false),
  less_is_moe: z.null({ error: 'experts of different widths (ragged) are not supported yet' }).optional(),
};
const Config = z.object(fields);
const Qwen2Config = z.object({ ...fields, shared_expert_intermediate_size: positive });

function planOf(
  name: string,
  c: z.output<typeof Config>,
  attentionChanges: Partial<GroupedQueryPlan>,
  moeChanges: Pick<MoePlan, 'shared'>,
): DecoderPlan {
  const attention = groupedQuery(name, c, attentionChanges);
  const moe: MoePlan = {
    kind: 'moe',
    ...expertsOf(name, c),
    intermediate: c.moe_intermediate_size,
    router: { scoring: 'softmax', normalise: c.norm_topk_prob },
    ...moeChanges,
  };
  const moeLayer = preNormLayer(c.rms_norm_eps, attention, moe);
  const denseLayer = preNormLayer(c.rms_norm_eps, attention, {
    kind: 'dense',
    intermediate: c.intermediate_size,
  });
  const hasExperts = (index: number) =>
    !(c.mlp_only_layers ?? []).includes(index) && (index + 1) % c.decoder_sparse_step === 0;
  return decoder(name, c, (index) => (hasExperts(index) ? moeLayer : denseLayer));
}

/** Qwen1.5-MoE and Qwen2-MoE. */
export const qwen2Moe: Family = {
  name: 'qwen2_moe',
  architecture: 'Qwen2MoeForCausalLM',
  plan(config) {
    const c = readConfig('qwen2_moe', Qwen2Config, config);
    const shared = { intermediate: c.shared_expert_intermediate_size, gated: true };
    return planOf('qwen2_moe', c, { biases: 'query-key-value' }, { shared });
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
    const c = readConfig('qwen3_moe', Config, config);
    return planOf('qwen3_moe', c, { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } }, {});
  },
  stored: storedBy(commonNames),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
