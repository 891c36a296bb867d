/**
 * gpt-oss (OpenAI 2025, arXiv 2508.10925): attention sinks, windows on alternate layers, biases everywhere, a clamped
 * activation. Gate and up projections lie in alternate columns of one transposed tensor.
 */
import { z } from 'zod';
import type { Family } from '#worker/model/index.ts';
import {
  decoderFields,
  expertFields,
  layerListFields,
  only,
  positive,
  readConfig,
  unread,
} from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { layerTypeOf, windowOf } from './layer-types.ts';
import { commonNames, storedBy } from './weight-names.ts';

const name = 'gpt_oss';

const Config = z.object({
  ...decoderFields,
  ...expertFields,
  ...layerListFields,
  attention_bias: only(true),
  hidden_act: unread,
  intermediate_size: positive,
  swiglu_limit: z.number().positive().default(7),
  swiglu_alpha: z.number().positive().default(1.702),
  rms_norm_eps: z.number().positive().default(1e-5),
});

const experts = 'model.layers.{L}.mlp.experts';
const fused = `${experts}.gate_up_proj`;

/** gpt-oss with weights in a floating-point type. */
export const gptOss: Family = {
  name,
  architecture: 'GptOssForCausalLM',
  plan(config) {
    const c = readConfig(name, Config, config);
    const changes = { biases: 'all', sinks: true } as const;
    const full = groupedQuery(name, c, changes);
    const sliding = groupedQuery(name, c, { ...changes, rope: full.rope, ...windowOf(c) });
    const moe = {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: { scoring: 'softmax', normalise: true, bias: true },
      activation: { kind: 'clamped', alpha: c.swiglu_alpha, limit: c.swiglu_limit },
      expertBiases: true,
    } as const;
    return decoder(name, c, (index) =>
      preNormLayer(c.rms_norm_eps, layerTypeOf(name, c, index) === 'full_attention' ? full : sliding, moe),
    );
  },
  stored: storedBy({
    ...commonNames,
    sinks: ['model.layers.{L}.self_attn.sinks'],
    router: ['model.layers.{L}.mlp.router.weight'],
    routerBias: ['model.layers.{L}.mlp.router.bias'],
    expertGate: [{ name: fused, stack: true, alternate: 0, transposed: true }],
    expertUp: [{ name: fused, stack: true, alternate: 1, transposed: true }],
    expertDown: [{ name: `${experts}.down_proj`, stack: true, transposed: true }],
    expertGateBias: [{ name: `${fused}_bias`, stack: true, alternate: 0 }],
    expertUpBias: [{ name: `${fused}_bias`, stack: true, alternate: 1 }],
    expertDownBias: [{ name: `${experts}.down_proj_bias`, stack: true }],
  }),
  moeModule: (layer) => `model.layers.${layer}.mlp`,
};
