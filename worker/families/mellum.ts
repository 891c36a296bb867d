/** Mellum (JetBrains): Qwen3-MoE with windows and a rotary base of their own by layer type. */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import {
  decoderFields,
  expertFields,
  invalidConfig,
  layerListFields,
  positive,
  readConfig,
} from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, ofLayer, preNormLayer } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'mellum';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  ...layerListFields,
  intermediate_size: positive.nullish(),
  moe_intermediate_size: positive,
  norm_topk_prob: z.boolean().default(true),
});

/** Mellum with experts. */
export const mellum: Family = {
  name,
  architecture: 'MellumForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const norm = { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } } as const;
    const full = groupedQuery(name, c, norm);
    const sliding = groupedQuery(name, c, { ...norm, ...windowOf(c) }, 'sliding_attention');
    const moe = {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.moe_intermediate_size,
      router: { scoring: 'softmax', normalise: c.norm_topk_prob },
    } as const;
    return decoder(name, c, (index) => {
      const attention = layerTypeOf(name, c, index) === 'full_attention' ? full : sliding;
      const dense =
        !!c.mlp_layer_types && ofLayer(name, 'mlp_layer_types', c.mlp_layer_types, index) === 'dense';
      if (!dense) return preNormLayer(c.rms_norm_eps, attention, moe);
      if (!c.intermediate_size) throw invalidConfig(name, 'intermediate_size is missing');
      return preNormLayer(c.rms_norm_eps, attention, { kind: 'dense', intermediate: c.intermediate_size });
    });
  },
  stored: storedBy(commonNames),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
