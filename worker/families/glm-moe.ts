/**
 * Families that put DeepSeek-V3's router behind ordinary attention: GLM-4.5 (arXiv 2508.06471), dots.llm1
 * (arXiv 2506.05767), Solar Open and EXAONE MoE.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, layerListFields, only, readConfig, unread } from './config-fields.ts';
import { decoder, groupedQuery, queryKeyValueBiases } from './decoder-parts.ts';
import { denseFirst, sigmoidMoe, sigmoidMoeFields, sigmoidMoeNames } from './sigmoid-moe.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { storedBy } from './weight-names.ts';

const moeModule = (layer: number) => `model.layers.${layer}.mlp`;
const fields = { ...decoderFields, ...sigmoidMoeFields, rms_norm_eps: z.number().positive().default(1e-5) };

const Glm4Config = z.object({
  ...fields,
  use_qk_norm: z.boolean().default(false),
  partial_rotary_factor: z.number().positive().default(0.5),
});

/** GLM-4.5: the first part of each head is rotated; norms per head and biases by config. */
export const glm4Moe: Family = {
  name: 'glm4_moe',
  architecture: 'Glm4MoeForCausalLM',
  plan(config) {
    const c = readConfig('glm4_moe', Glm4Config, config);
    const attention = groupedQuery('glm4_moe', c, {
      ...(c.use_qk_norm && { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } }),
      ...queryKeyValueBiases(c),
    });
    return decoder(
      'glm4_moe',
      c,
      denseFirst('glm4_moe', c, () => attention, sigmoidMoe('glm4_moe', c)),
    );
  },
  stored: storedBy(sigmoidMoeNames),
  moeModule,
};

const Dots1Config = z.object({
  ...fields,
  sliding_window: only(null),
  scoring_func: z.enum(['noaux_tc', 'sigmoid']).nullish(),
});

/** dots.llm1: query and key are normalised per head. */
export const dots1: Family = {
  name: 'dots1',
  architecture: 'Dots1ForCausalLM',
  plan(config) {
    const c = readConfig('dots1', Dots1Config, config);
    const attention = groupedQuery('dots1', c, { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } });
    return decoder(
      'dots1',
      c,
      denseFirst('dots1', c, () => attention, sigmoidMoe('dots1', c)),
    );
  },
  stored: storedBy(sigmoidMoeNames),
  moeModule,
};

const SolarConfig = z.object(fields);

/** Solar Open: no dense layer, positions stretched by YaRN. */
export const solarOpen: Family = {
  name: 'solar_open',
  architecture: 'SolarOpenForCausalLM',
  plan(config) {
    const c = readConfig('solar_open', SolarConfig, config);
    const attention = groupedQuery('solar_open', c, queryKeyValueBiases(c));
    return decoder(
      'solar_open',
      c,
      denseFirst('solar_open', c, () => attention, sigmoidMoe('solar_open', c)),
    );
  },
  stored: storedBy(sigmoidMoeNames),
  moeModule,
};

const ExaoneConfig = z.object({
  ...fields,
  ...layerListFields,
  attention_bias: unread,
  scoring_func: only('sigmoid'),
});

/** EXAONE MoE: windows by layer type; layers that see everything have no positions. */
export const exaoneMoe: Family = {
  name: 'exaone_moe',
  architecture: 'ExaoneMoeForCausalLM',
  plan(config) {
    const c = readConfig('exaone_moe', ExaoneConfig, config);
    const norm = { queryKeyNorm: { kind: 'head', epsilon: c.rms_norm_eps } } as const;
    const full = groupedQuery('exaone_moe', c, { ...norm, ...(c.sliding_window && { rope: null }) });
    const sliding = groupedQuery('exaone_moe', c, { ...norm, ...windowOf(c) });
    const attentionOf = (index: number) =>
      layerTypeOf('exaone_moe', c, index) === 'full_attention' ? full : sliding;
    return decoder('exaone_moe', c, denseFirst('exaone_moe', c, attentionOf, sigmoidMoe('exaone_moe', c)));
  },
  stored: storedBy({
    ...sigmoidMoeNames,
    selectionBias: ['model.layers.{L}.mlp.e_score_correction_bias'],
  }),
  moeModule,
};
