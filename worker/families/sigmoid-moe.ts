/** What the families with DeepSeek-V3's router share: fields, plan of a MoE layer, dense first layers, names. */
import { z } from 'zod';
import type { AttentionPlan, LayerPlan, MoePlan, RouterPlan } from '#worker/model/index.ts';
import { expertFields, invalidConfig, only, positive } from './config-fields.ts';
import { expertsOf, ofLayer, preNormLayer } from './decoder-parts.ts';
import { commonNames, sharedNames, type WeightNames } from './weight-names.ts';

/** Fields of a layer of experts with groups, shared experts and dense first layers. */
export const sigmoidMoeFields = {
  ...expertFields,
  moe_intermediate_size: positive,
  intermediate_size: positive.nullish(),
  n_shared_experts: z.int().min(0).nullish(),
  num_shared_experts: z.int().min(0).nullish(),
  first_k_dense_replace: z.int().min(0).default(0),
  moe_layer_freq: only(1),
  mlp_layer_types: z.array(z.enum(['dense', 'sparse'])).nullish(),
  n_group: positive.nullish(),
  topk_group: positive.nullish(),
  norm_topk_prob: z.boolean().default(true),
  routed_scaling_factor: z.number().positive().default(1),
};
const Fields = z.object(sigmoidMoeFields);
type SigmoidMoeConfig = z.output<typeof Fields>;

/** The groups of a router; none where all experts are one group. @throws UserError `config/invalid`. */
export function routerGroups(
  family: string,
  c: Pick<SigmoidMoeConfig, 'n_group' | 'topk_group'>,
  experts: number,
  best: 1 | 2,
): Pick<RouterPlan, 'groups'> {
  const count = c.n_group ?? 1;
  const kept = c.topk_group ?? count;
  if (count === 1 || kept === count) return {};
  if (experts % count !== 0) throw invalidConfig(family, 'n_group must divide the number of experts');
  if (kept > count) throw invalidConfig(family, 'topk_group must not exceed n_group');
  return { groups: { count, kept, best } };
}

/** A layer of experts as DeepSeek-V3 has it (arXiv 2412.19437, equations 12 to 16), unless `changes` says otherwise. */
export function sigmoidMoe(family: string, c: SigmoidMoeConfig, changes: Partial<RouterPlan> = {}): MoePlan {
  const sizes = expertsOf(family, c);
  const shared = c.n_shared_experts ?? c.num_shared_experts ?? 0;
  return {
    kind: 'moe',
    ...sizes,
    intermediate: c.moe_intermediate_size,
    router: {
      scoring: 'sigmoid',
      normalise: c.norm_topk_prob,
      scale: c.routed_scaling_factor,
      selectionBias: true,
      ...routerGroups(family, c, sizes.experts, 2),
      ...changes,
    },
    ...(shared > 0 && { shared: { intermediate: shared * c.moe_intermediate_size, gated: false } }),
  };
}

/** Layers with norms before both halves; the first ones are dense. */
export function denseFirst(
  family: string,
  c: SigmoidMoeConfig & { readonly rms_norm_eps: number },
  attentionOf: (index: number) => AttentionPlan,
  moe: MoePlan,
): (index: number) => LayerPlan {
  return (index) => {
    const dense = c.mlp_layer_types
      ? ofLayer(family, 'mlp_layer_types', c.mlp_layer_types, index) === 'dense'
      : index < c.first_k_dense_replace;
    if (!dense) return preNormLayer(c.rms_norm_eps, attentionOf(index), moe);
    if (!c.intermediate_size) throw invalidConfig(family, 'intermediate_size is missing');
    return preNormLayer(c.rms_norm_eps, attentionOf(index), {
      kind: 'dense',
      intermediate: c.intermediate_size,
    });
  };
}

/** Weight names as DeepSeek-V3 has them. */
export const sigmoidMoeNames: WeightNames = {
  ...commonNames,
  ...sharedNames('mlp.shared_experts'),
  selectionBias: ['model.layers.{L}.mlp.gate.e_score_correction_bias'],
};
