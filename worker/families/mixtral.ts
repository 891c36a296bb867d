/** Mixtral (Jiang et al. 2024, arXiv 2401.04088): gate weights are always renormalised; attention may have a window. */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, positive, readConfig, unread } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { commonNames, expertNames, storedBy, type WeightNames } from './weight-names.ts';

const name = 'mixtral';

const Config = z.object({
  ...decoderFields,
  attention_bias: unread,
  ...expertFields,
  intermediate_size: positive,
  rms_norm_eps: z.number().positive().default(1e-5),
  sliding_window: positive.nullish(),
});

/** Names of a MoE layer as Mixtral and its kin have them. */
export const blockSparseNames: WeightNames = {
  router: ['model.layers.{L}.block_sparse_moe.gate.weight'],
  ...expertNames('block_sparse_moe', ['w1', 'w3', 'w2']),
};

/** Mixtral. */
export const mixtral: Family = {
  name,
  architecture: 'MixtralForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const window = c.sliding_window ? { window: c.sliding_window } : {};
    const layer = preNormLayer(c.rms_norm_eps, groupedQuery(name, c, window), {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: { scoring: 'softmax', normalise: true },
    });
    return decoder(name, c, () => layer);
  },
  stored: storedBy({ ...commonNames, ...blockSparseNames }),
  moeModule: (layer) => `model.layers.${layer}.block_sparse_moe`,
};
