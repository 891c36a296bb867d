/** Parts of a plan that families put together from the same fields. */
import type {
  AttentionPlan,
  DecoderPlan,
  FeedForwardPlan,
  GroupedQueryPlan,
  LayerPlan,
  MoePlan,
} from '#worker/model/index.ts';
import { invalidConfig, type DecoderConfig } from './config-fields.ts';
import { partialRotaryFactor, ropeOf, type LayerType } from './rope-config.ts';

/** Size of an attention head. @throws UserError `config/invalid` when heads do not divide as they must. */
export function headDimOf(family: string, c: DecoderConfig): number {
  const { hidden_size: hidden, num_attention_heads: heads } = c;
  const keyValueHeads = c.num_key_value_heads ?? heads;
  if (heads % keyValueHeads !== 0)
    throw invalidConfig(family, 'num_attention_heads must be a multiple of num_key_value_heads');
  if (c.head_dim) return c.head_dim;
  if (hidden % heads !== 0)
    throw invalidConfig(family, 'hidden_size must be a multiple of num_attention_heads');
  return hidden / heads;
}

/** Attention with shared key and value heads, plain unless `changes` says otherwise. */
export function groupedQuery(
  family: string,
  c: DecoderConfig,
  changes: Partial<Omit<GroupedQueryPlan, 'kind'>> = {},
  layerType: LayerType = 'full_attention',
): GroupedQueryPlan {
  const headDim = headDimOf(family, c);
  const rotated = 2 * Math.floor((headDim * partialRotaryFactor(c, layerType)) / 2);
  return {
    kind: 'grouped-query',
    heads: c.num_attention_heads,
    keyValueHeads: c.num_key_value_heads ?? c.num_attention_heads,
    headDim,
    scale: headDim ** -0.5,
    queryKeyNorm: { kind: 'none' },
    clip: null,
    ...(c.attention_bias === true && { biases: 'all' }),
    ...changes,
    rope: changes.rope === undefined ? ropeOf(family, c, rotated, { layerType }) : changes.rope,
  };
}

/** For families whose output has no bias whatever the config says. */
export function queryKeyValueBiases({
  attention_bias: has,
}: DecoderConfig): Pick<GroupedQueryPlan, 'biases'> {
  return has === true ? { biases: 'query-key-value' } : {};
}

/** Number of experts, under whichever name. @throws UserError `config/invalid` when it is missing or too small. */
export function expertsOf(
  family: string,
  c: {
    readonly num_experts?: number | null | undefined;
    readonly num_local_experts?: number | null | undefined;
    readonly n_routed_experts?: number | null | undefined;
    readonly num_experts_per_tok: number;
  },
): Pick<MoePlan, 'experts' | 'expertsPerToken'> {
  const experts = c.num_experts ?? c.num_local_experts ?? c.n_routed_experts;
  if (!experts) throw invalidConfig(family, 'num_experts is missing');
  if (c.num_experts_per_tok > experts)
    throw invalidConfig(family, 'num_experts_per_tok must not exceed num_experts');
  return { experts, expertsPerToken: c.num_experts_per_tok };
}

/** What a layer list says of layer `index`. @throws UserError `config/invalid` when the list is too short. */
export function ofLayer<T>(family: string, field: string, list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined) throw invalidConfig(family, `${field} has no entry for layer ${index}`);
  return value;
}

/** A layer with norms before both halves. */
export function preNormLayer(
  epsilon: number,
  attention: AttentionPlan,
  feedForward: FeedForwardPlan,
): LayerPlan {
  const norm = { kind: 'rms', epsilon } as const;
  return { inputNorm: norm, attention, postAttentionNorm: norm, feedForward };
}

/** A layer whose MLPs have the activation of the config, unless the family has one of its own. */
function activated(layer: LayerPlan, { hidden_act: activation }: DecoderConfig): LayerPlan {
  return activation === undefined ? layer : { ...layer, feedForward: { activation, ...layer.feedForward } };
}

/** A decoder of the layers that `layerOf` gives. */
export function decoder(
  family: string,
  c: DecoderConfig,
  layerOf: (index: number) => LayerPlan,
  changes: Partial<Pick<DecoderPlan, 'embeddingScale' | 'logitScale' | 'finalNorm' | 'headBias'>> = {},
): DecoderPlan {
  return {
    family,
    vocabularySize: c.vocab_size,
    hiddenSize: c.hidden_size,
    maxPositions: c.max_position_embeddings,
    paddingId: c.pad_token_id ?? null,
    endIds: c.eos_token_id,
    layers: Array.from({ length: c.num_hidden_layers }, (_, index) => activated(layerOf(index), c)),
    finalNorm: { kind: 'rms', epsilon: c.rms_norm_eps },
    tiedHead: c.tie_word_embeddings,
    publishedAuxCoefficient: c.router_aux_loss_coef ?? null,
    ...changes,
  };
}
