/**
 * OLMoE (Muennighoff et al. 2024, arXiv 2409.02060).
 *
 * Query and key are normalised over the whole projection before the split into heads; gate weights are renormalised
 * only if `norm_topk_prob` says so (the published checkpoint: no).
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'olmoe';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  intermediate_size: positive,
  norm_topk_prob: z.boolean().default(false),
  rms_norm_eps: z.number().positive().default(1e-5),
  clip_qkv: z.number().positive().nullish(),
});

/** OLMoE in both config layouts and both expert layouts. */
export const olmoe: Family = {
  name,
  architecture: 'OlmoeForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const attention = groupedQuery(name, c, {
      queryKeyNorm: { kind: 'projection', epsilon: c.rms_norm_eps },
      clip: c.clip_qkv ?? null,
    });
    const layer = preNormLayer(c.rms_norm_eps, attention, {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: { scoring: 'softmax', normalise: c.norm_topk_prob },
    });
    return decoder(name, c, () => layer);
  },
  stored: storedBy(commonNames),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
