/**
 * MiMo-V2-Flash (Xiaomi): window layers with attention sinks and key heads of their own, narrow scaled values,
 * DeepSeek-V3's router.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, layerListFields, positive, readConfig } from './config-fields.ts';
import { decoder, groupedQuery, queryKeyValueBiases } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
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
});

/** MiMo-V2-Flash as newer libraries save it: kinds of layers as lists, one rotary record for each type. */
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
    const full = groupedQuery(name, c, values);
    // Window layers have twice the key and value heads; the config has no field for it.
    const sliding = groupedQuery(
      name,
      c,
      { ...values, ...windowOf(c), keyValueHeads: 2 * full.keyValueHeads, sinks: true },
      'sliding_attention',
    );
    const attentionOf = (index: number) =>
      layerTypeOf(name, c, index) === 'full_attention' ? full : sliding;
    return decoder(name, c, denseFirst(name, c, attentionOf, sigmoidMoe(name, c)));
  },
  stored: storedBy({ ...sigmoidMoeNames, sinks: ['model.layers.{L}.self_attn.attention_sink_bias'] }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
