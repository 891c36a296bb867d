/** MiniMax-M2: sigmoid router with a bias on the choice; query and key are normalised over their whole width. */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import { decoderFields, expertFields, only, positive, readConfig, unread } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, headDimOf, preNormLayer } from './decoder-parts.ts';
import { blockSparseNames } from './mixtral.ts';
import { partialRotaryFactor, ropeOf } from './rope-config.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'minimax_m2';

const Config = z.object({
  ...decoderFields,
  attention_bias: unread,
  ...expertFields,
  intermediate_size: positive,
  rotary_dim: positive.nullish(),
  use_qk_norm: only(true),
  qk_norm_type: only('per_layer'),
  use_routing_bias: only(true),
  scoring_func: only('sigmoid'),
});

/** MiniMax-M2. */
export const minimaxM2: Family = {
  name,
  architecture: 'MiniMaxM2ForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const attention = groupedQuery(name, c, {
      queryKeyNorm: { kind: 'projection', epsilon: c.rms_norm_eps },
      rope: ropeOf(name, c, c.rotary_dim ?? headDimOf(name, c) * partialRotaryFactor(c)),
    });
    const layer = preNormLayer(c.rms_norm_eps, attention, {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: { scoring: 'sigmoid', normalise: true, selectionBias: true },
    });
    return decoder(name, c, () => layer);
  },
  stored: storedBy({
    ...commonNames,
    ...blockSparseNames,
    selectionBias: ['model.layers.{L}.block_sparse_moe.e_score_correction_bias'],
  }),
  moeModule: (layer) => `model.layers.${layer}.block_sparse_moe`,
};
