/** ERNIE 4.5 MoE (Baidu): neighbouring elements are rotated; a bias takes part in the choice of softmax scores. */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertCount, only, positive, readConfig, unread } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, headDimOf, preNormLayer } from './decoder-parts.ts';
import { ropeOf } from './rope-config.ts';
import { commonNames, sharedNames, storedBy } from './weight-names.ts';

const name = 'ernie4_5_moe';

const Config = z.object({
  ...decoderFields,
  attention_bias: unread,
  intermediate_size: positive,
  moe_intermediate_size: positive,
  moe_num_experts: expertCount,
  moe_k: positive,
  moe_num_shared_experts: z.int().min(0).default(0),
  moe_layer_start_index: z.int().min(0).default(0),
  moe_layer_end_index: z.int().default(-1),
  moe_layer_interval: positive.default(1),
  use_bias: only(false),
  rms_norm_eps: z.number().positive().default(1e-5),
});

/** ERNIE 4.5 MoE. */
export const ernie45Moe: Family = {
  name,
  architecture: 'Ernie4_5_MoeForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const attention = groupedQuery(name, c, {
      rope: ropeOf(name, c, headDimOf(name, c), { layout: 'interleaved' }),
    });
    const sharedWidth = c.moe_num_shared_experts * c.moe_intermediate_size;
    const moe = preNormLayer(c.rms_norm_eps, attention, {
      kind: 'moe',
      ...expertsOf(name, { num_experts: c.moe_num_experts, num_experts_per_tok: c.moe_k }),
      intermediate: c.moe_intermediate_size,
      router: { scoring: 'softmax', normalise: true, selectionBias: true },
      ...(sharedWidth > 0 && { shared: { intermediate: sharedWidth, gated: false } }),
    });
    const dense = preNormLayer(c.rms_norm_eps, attention, {
      kind: 'dense',
      intermediate: c.intermediate_size,
    });
    const last = c.moe_layer_end_index < 0 ? c.num_hidden_layers - 1 : c.moe_layer_end_index;
    const hasExperts = (index: number) =>
      index >= c.moe_layer_start_index && index <= last && (index + 1) % c.moe_layer_interval === 0;
    return decoder(name, c, (index) => (hasExperts(index) ? moe : dense));
  },
  stored: storedBy({
    ...commonNames,
    ...sharedNames('mlp.shared_experts'),
    // Stored as one row of a matrix.
    selectionBias: [{ name: 'model.layers.{L}.mlp.moe_statics.e_score_correction_bias', stack: true }],
  }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
