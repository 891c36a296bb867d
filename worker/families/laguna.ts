/** Laguna (Poolside): a softplus gate on each head, positions by type of layer, scaled routed experts beside a shared one. */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, layerListFields, only, positive, readConfig } from './config-fields.ts';
import { decoder, groupedQuery } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { ropeFields } from './rope-config.ts';
import { denseFirst, sigmoidMoe, sigmoidMoeFields, sigmoidMoeNames } from './sigmoid-moe.ts';
import { sharedNames, storedBy } from './weight-names.ts';

const name = 'laguna';

const Config = z
  .object({
    ...decoderFields,
    ...layerListFields,
    ...sigmoidMoeFields,
    gating: only(true),
    shared_expert_intermediate_size: positive,
    // What the published config leaves out.
    first_k_dense_replace: z.int().min(0).default(1),
    rope_parameters: ropeFields.rope_parameters.transform(
      (given) =>
        given ?? {
          full_attention: { rope_theta: 5e5, partial_rotary_factor: 0.5 },
          sliding_attention: { rope_theta: 1e4 },
        },
    ),
    moe_routed_scaling_factor: z.number().positive().default(1),
    moe_router_logit_softcapping: only(0),
    moe_apply_router_weight_on_input: only(false),
    num_attention_heads_per_layer: z.array(positive).nullish(),
  })
  .refine(
    (c) => (c.num_attention_heads_per_layer ?? []).every((heads) => heads === c.num_attention_heads),
    'num_attention_heads_per_layer with different numbers is not supported',
  );

/** Laguna. */
export const laguna: Family = {
  name,
  architecture: 'LagunaForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const changes = {
      queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps },
      outputGate: 'softplus-heads',
    } as const;
    const full = groupedQuery(name, c, changes);
    const sliding = groupedQuery(name, c, { ...changes, ...windowOf(c) }, 'sliding_attention');
    const moe = {
      ...sigmoidMoe(name, c, { scale: 1 }),
      routedScale: c.moe_routed_scaling_factor,
      shared: { intermediate: c.shared_expert_intermediate_size, gated: false },
    };
    const attentionOf = (index: number) =>
      layerTypeOf(name, c, index) === 'full_attention' ? full : sliding;
    return decoder(name, c, denseFirst(name, c, attentionOf, moe));
  },
  stored: storedBy({
    ...sigmoidMoeNames,
    ...sharedNames('mlp.shared_expert'),
    outputGate: ['model.layers.{L}.self_attn.g_proj.weight'],
    selectionBias: ['model.layers.{L}.mlp.experts.e_score_correction_bias'],
  }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
