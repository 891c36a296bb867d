/**
 * Granite 3 MoE (IBM), with and without a shared expert.
 *
 * Embeddings, attention scores, residual branches and logits have multipliers of their own. The router takes the softmax of
 * the chosen logits only.
 */
import { z } from 'zod';
import type { DecoderPlan, Family, MoePlan } from '#worker/model/index.ts';
import { decoderFields, expertFields, positive, readConfig } from './config-fields.ts';
import { decoder, expertsOf, groupedQuery, preNormLayer } from './decoder-parts.ts';
import { commonNames, storedBy, type WeightNames } from './weight-names.ts';

const multiplier = z.number().positive().default(1);

const fields = {
  ...decoderFields,
  ...expertFields,
  intermediate_size: positive,
  attention_multiplier: multiplier,
  embedding_multiplier: multiplier,
  logits_scaling: multiplier,
  residual_multiplier: multiplier,
};
const Config = z.object(fields);
const SharedConfig = z.object({ ...fields, shared_intermediate_size: z.int().min(0).default(0) });

function planOf(name: string, c: z.output<typeof Config>, shared: Pick<MoePlan, 'shared'>): DecoderPlan {
  const layer = {
    ...preNormLayer(c.rms_norm_eps, groupedQuery(name, c, { scale: c.attention_multiplier }), {
      kind: 'moe',
      ...expertsOf(name, c),
      intermediate: c.intermediate_size,
      router: { scoring: 'softmax', normalise: true },
      ...shared,
    }),
    residualScale: c.residual_multiplier,
  };
  return decoder(name, c, () => layer, {
    embeddingScale: c.embedding_multiplier,
    logitScale: 1 / c.logits_scaling,
  });
}

const input = 'model.layers.{L}.block_sparse_moe.input_linear.weight';
const sharedInput = 'model.layers.{L}.shared_mlp.input_linear.weight';

const names: WeightNames = {
  ...commonNames,
  router: ['model.layers.{L}.block_sparse_moe.router.layer.weight'],
  expertGate: [{ name: input, stack: true, part: 0 }],
  expertUp: [{ name: input, stack: true, part: 1 }],
  expertDown: [{ name: 'model.layers.{L}.block_sparse_moe.output_linear.weight', stack: true }],
  sharedGate: [{ name: sharedInput, stack: false, part: 0 }],
  sharedUp: [{ name: sharedInput, stack: false, part: 1 }],
  sharedDown: ['model.layers.{L}.shared_mlp.output_linear.weight'],
};

const moeModule = (layer: number) => `model.layers.${layer}.block_sparse_moe`;

/** Granite 3 MoE. */
export const graniteMoe: Family = {
  name: 'granitemoe',
  architecture: 'GraniteMoeForCausalLM',
  plan: (config) => planOf('granitemoe', readConfig('granitemoe', Config, config), {}),
  stored: storedBy(names),
  moeModule,
};

/** Granite MoE with a shared expert. */
export const graniteMoeShared: Family = {
  name: 'granitemoeshared',
  architecture: 'GraniteMoeSharedForCausalLM',
  plan(config) {
    const c = readConfig('granitemoeshared', SharedConfig, config);
    const intermediate = c.shared_intermediate_size;
    return planOf('granitemoeshared', c, intermediate > 0 ? { shared: { intermediate, gated: false } } : {});
  },
  stored: storedBy(names),
  moeModule,
};
