/** FlexOlmo (Shi et al. 2025, arXiv 2507.07024): OLMoE with norms behind both halves instead of before them. */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery } from './decoder-parts.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'flex_olmo';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  intermediate_size: positive,
  norm_topk_prob: z.boolean().default(false),
});

/** FlexOlmo. */
export const flexOlmo: Family = {
  name,
  architecture: 'FlexOlmoForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const norm = { kind: 'rms', epsilon: c.rms_norm_eps } as const;
    const layer = {
      inputNorm: null,
      attention: groupedQuery(name, c, { queryKeyNorm: { kind: 'projection', epsilon: c.rms_norm_eps } }),
      attentionOutputNorm: norm,
      postAttentionNorm: null,
      feedForward: {
        kind: 'moe',
        ...expertsOf(name, c),
        intermediate: c.intermediate_size,
        router: { scoring: 'softmax', normalise: c.norm_topk_prob },
      },
      feedForwardOutputNorm: norm,
    } as const;
    return decoder(name, c, () => layer);
  },
  stored: storedBy({
    ...commonNames,
    attentionOutputNorm: ['model.layers.{L}.post_attention_layernorm.weight'],
    feedForwardOutputNorm: ['model.layers.{L}.post_feedforward_layernorm.weight'],
  }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
