/**
 * What a decoder is made of, whatever family it comes from.
 *
 * A family turns its `config.json` into a plan; stages, parameters and the executor read only the plan. Anything a new
 * family needs grows one of the unions here, and the exhaustive switches show every place to update.
 */

import type { LearnedGatePlan, LocalExpertPlan } from './addition-plans.ts';

/** Normalisation along the last axis, computed in float32. */
export type NormPlan =
  /** `w ⊙ x / sqrt(mean(x²) + ε)` */
  | { readonly kind: 'rms'; readonly epsilon: number }
  /** `w ⊙ (x − mean(x)) / sqrt(var(x) + ε) + b`; absent bias: 0. */
  | { readonly kind: 'layer'; readonly epsilon: number; readonly bias?: true };

/** Rotary position embedding of the first `2 · inverseFrequencies.length` elements of a head. */
export interface RopePlan {
  /** Angle i turns dimensions (i, i + d/2) for `half`, (2i, 2i + 1) for `interleaved`. */
  readonly layout: 'half' | 'interleaved';
  readonly inverseFrequencies: readonly number[];
  /** Multiplies cos and sin; absent: 1. */
  readonly tableScale?: number;
  /** The table scale where rows reach more than `above` positions (LongRoPE); absent: the same. */
  readonly long?: { readonly above: number; readonly tableScale: number };
  /** Rows reach so many positions at most: in longer ones frequencies would depend on the length of the row. Absent: any number. */
  readonly mostPositions?: number;
}

/** Normalisation of q and k: before the split into heads, of each head, or of each head after the rotation. */
export type QueryKeyNormPlan =
  | { readonly kind: 'none' }
  | { readonly kind: 'projection' | 'head' | 'rotated-head'; readonly epsilon: number };

/** Scaled dot-product attention with key and value heads shared by groups of query heads. */
export interface GroupedQueryPlan {
  readonly kind: 'grouped-query';
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Multiplies the scores before the softmax. */
  readonly scale: number;
  readonly queryKeyNorm: QueryKeyNormPlan;
  /** q, k and v are clamped to ±clip after their normalisation, before the rotation; null: not at all. */
  readonly clip: number | null;
  /** Null: positions do not enter. */
  readonly rope: RopePlan | null;
  /** A query sees this many keys, its own included; absent: all before it. */
  readonly window?: number;
  /** Which projections have a bias; absent: none. */
  readonly biases?: 'query-key-value' | 'all';
  /** Width of a value head; absent: that of a key head. */
  readonly valueDim?: number;
  /** Multiplies what is read from the values; absent: 1. */
  readonly valueScale?: number;
  /** What multiplies the context: the sigmoid of a projection of its width, or the softplus of one number a head. */
  readonly outputGate?: 'sigmoid' | 'softplus-heads';
  /** A learned logit of each query head joins its softmax and takes probability, but has no value. */
  readonly sinks?: true;
  /**
   * Values are not mixed by scores but by a causal convolution over so many places, which `window` is too:
   * `query_t ⊙ Σ_j c_(n−1−j) ⊙ key_(t−j) ⊙ value_(t−j)`, with one head of the width of the hidden state (LFM2).
   */
  readonly convolution?: number;
}

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are expanded from one small vector of a
 * token, and one rotated key part is shared by all heads.
 */
export interface LatentPlan {
  readonly kind: 'latent';
  readonly heads: number;
  /** Width of the compressed query; null: queries are projected directly. */
  readonly queryRank: number | null;
  readonly keyValueRank: number;
  /** Elements of a query and key head that are not rotated. */
  readonly contentDim: number;
  readonly valueDim: number;
  /** Of the norms of the compressed vectors. */
  readonly epsilon: number;
  readonly scale: number;
  readonly rope: RopePlan;
  readonly window?: number;
  /** The projections to compressed vectors and the output have biases. */
  readonly biases?: true;
}

/** The attention of a layer, whatever its kind. */
export type AttentionPlan = GroupedQueryPlan | LatentPlan;

/** How a router turns logits into gate weights. */
export interface RouterPlan {
  readonly scoring: 'softmax' | 'sigmoid';
  /** The gate weights of two experts are SparseMixer's, with this threshold ε; absent: they are the scores. */
  readonly sparseMixer?: number;
  /** Divide the chosen experts' weights by their sum. */
  readonly normalise: boolean;
  /** Added to that sum; absent: 0. */
  readonly normaliseEpsilon?: number;
  /** Multiplies the gate weights; absent: 1. */
  readonly scale?: number;
  /** The logits have a learned bias. */
  readonly bias?: true;
  /** The checkpoint has a bias that takes part in the choice only. */
  readonly selectionBias?: true;
  /**
   * Only the `kept` best of `count` equal groups of experts can be chosen; a group is as good as the sum of its `best`
   * best scores.
   */
  readonly groups?: { readonly count: number; readonly kept: number; readonly best: 1 | 2 };
}

/** What an MLP makes of its projections `g = gate x` and `u = up x` before the last product. */
export type ActivationPlan =
  /** `f(g) ⊙ u`, f the function of that name; `gelu-tanh` is the approximation of `gelu`, `quick-gelu` is `g ⊙ sigmoid(1.702 g)`. */
  | { readonly kind: 'silu' | 'gelu' | 'gelu-tanh' | 'quick-gelu' | 'relu' | 'relu-squared' }
  /** `(ũ + 1) ⊙ g̃ ⊙ sigmoid(α g̃)` with g̃ = min(g, limit) and ũ = clamp(u, ±limit), as in gpt-oss. */
  | { readonly kind: 'clamped'; readonly alpha: number; readonly limit: number };

/** A layer of experts, each token sent to `expertsPerToken` of them. */
export interface MoePlan {
  readonly kind: 'moe';
  readonly experts: number;
  readonly expertsPerToken: number;
  /** Width of one expert; of the widest, where they differ. */
  readonly intermediate: number;
  /** Width of each expert, where they differ; one of width 0 gives nothing. */
  readonly widths?: readonly number[];
  readonly router: RouterPlan;
  /** An expert that every token visits; `gated`: times the sigmoid of one learned number per token; `scale`: absent is 1. */
  readonly shared?: { readonly intermediate: number; readonly gated: boolean; readonly scale?: number };
  /** Multiplies what the chosen experts add up to; absent: 1. */
  readonly routedScale?: number;
  /** Of the experts and the shared one; absent: silu. */
  readonly activation?: ActivationPlan;
  /** The projections of an expert have biases. */
  readonly expertBiases?: true;
  /** What a method adds; no family publishes it. */
  readonly learnedGate?: LearnedGatePlan;
  readonly localExpert?: LocalExpertPlan;
}

/** One gated MLP for all tokens. */
export interface DensePlan {
  readonly kind: 'dense';
  readonly intermediate: number;
  /** Absent: silu. */
  readonly activation?: ActivationPlan;
  /** All three projections have a bias. */
  readonly biases?: true;
}

/** The second half of a layer, whatever its kind. */
export type FeedForwardPlan = MoePlan | DensePlan;

/**
 * `h += attention(inputNorm(h)); h += feedForward(postAttentionNorm(h))`. A norm that is null is not there; output norms
 * stand between a half and its addition to `h`.
 */
export interface LayerPlan {
  readonly inputNorm: NormPlan | null;
  readonly attention: AttentionPlan;
  readonly attentionOutputNorm?: NormPlan;
  readonly postAttentionNorm: NormPlan | null;
  readonly feedForward: FeedForwardPlan;
  readonly feedForwardOutputNorm?: NormPlan;
  /** Multiplies what each half adds to `h`; absent: 1. */
  readonly residualScale?: number;
  /** Both halves read `inputNorm(h)`, and both are added to `h`; `postAttentionNorm` is the same norm with its weights. */
  readonly parallel?: true;
}

/** The whole decoder: embedding, layers, final norm, head. */
export interface DecoderPlan {
  readonly family: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** The longest sequence the checkpoint was made for. */
  readonly maxPositions: number;
  /** This row of the embedding gets no gradient from the lookup; null where the config names none. */
  readonly paddingId: number | null;
  readonly endIds: readonly number[];
  readonly layers: readonly LayerPlan[];
  readonly finalNorm: NormPlan;
  /** Multiplies the embeddings; absent: 1. */
  readonly embeddingScale?: number;
  /** Multiplies the logits; absent: 1. */
  readonly logitScale?: number;
  /** The logits have a learned bias. */
  readonly headBias?: true;
  /** The head shares the embedding's weights. */
  readonly tiedHead: boolean;
  /** Coefficient the checkpoint's authors used for the load-balancing loss, where its config states one. */
  readonly publishedAuxCoefficient: number | null;
}

/** Width of one expert of a layer. */
export function expertWidth({ intermediate, widths }: MoePlan, expert: number): number {
  return widths === undefined ? intermediate : (widths[expert] ?? 0);
}

/** Decoder indices of the layers with experts, in order: the rows of every routing statistic. */
export function moeLayerIndices(plan: DecoderPlan): number[] {
  return plan.layers.flatMap((layer, index) => (layer.feedForward.kind === 'moe' ? [index] : []));
}
