/**
 * MiMo-V2-Flash (Xiaomi): window layers with attention sinks and key heads of their own, narrow scaled values,
 * DeepSeek-V3's router.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, layerListFields, positive, readConfig } from './config-fields.ts';
import { decoder, groupedQuery, queryKeyValueBiases } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { ropeFields } from './rope-config.ts';
import { denseFirst, sigmoidMoe, sigmoidMoeFields, sigmoidMoeNames } from './sigmoid-moe.ts';
import { storedBy } from './weight-names.ts';

const name = 'mimo_v2_flash';

const Config = z.object({
  ...decoderFields,
  ...layerListFields,
  ...sigmoidMoeFields,
  v_head_dim: positive,
  attention_value_scale: z.number().positive().nullish(),
  rms_norm_eps: z.number().positive().default(1e-5),
  // What the published config leaves out, or says otherwise.
  first_k_dense_replace: z.int().min(0).default(1),
  routed_scaling_factor: z
    .number()
    .positive()
    .nullish()
    .transform((given) => given ?? 1),
  rope_parameters: ropeFields.rope_parameters.transform(
    (given) =>
      given ?? {
        full_attention: { rope_theta: 5e6, partial_rotary_factor: 0.334 },
        sliding_attention: { rope_theta: 1e4, partial_rotary_factor: 0.334 },
      },
  ),
  /** Tokens before its own that a token sees; `sliding_window` counts its own too. */
  sliding_window_size: positive.nullish(),
});

/** Where no list says it, the first layer and every sixth see everything. */
function attendsAll(c: z.output<typeof Config>, index: number): boolean {
  if (!c.layer_types) return index === 0 || (index + 1) % 6 === 0;
  return layerTypeOf(name, c, index) === 'full_attention';
}

/** MiMo-V2-Flash. */
export const mimoV2Flash: Family = {
  name,
  architecture: 'MiMoV2FlashForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const values = {
      valueDim: c.v_head_dim,
      ...(c.attention_value_scale && { valueScale: c.attention_value_scale }),
      ...queryKeyValueBiases(c),
    };
    const window = { sliding_window: c.sliding_window_size ? c.sliding_window_size + 1 : c.sliding_window };
    const full = groupedQuery(name, c, values);
    // Window layers have twice the key and value heads; the config has no field for it.
    const sliding = groupedQuery(
      name,
      c,
      { ...values, ...windowOf(window), keyValueHeads: 2 * full.keyValueHeads, sinks: true },
      'sliding_attention',
    );
    const attentionOf = (index: number) => (attendsAll(c, index) ? full : sliding);
    return decoder(name, c, denseFirst(name, c, attentionOf, sigmoidMoe(name, c)));
  },
  stored: storedBy({ ...sigmoidMoeNames, sinks: ['model.layers.{L}.self_attn.attention_sink_bias'] }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
