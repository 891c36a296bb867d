/**
 * What a decoder is made of, whatever family it comes from.
 *
 * A family turns its `config.json` into a plan; stages, parameters and the executor read only the plan. Anything a new
 * family needs grows one of the unions here, and the exhaustive switches show every place to update.
 */

/** Root-mean-square normalisation `w ⊙ x / sqrt(mean(x²) + ε)`, computed in float32. */
export interface NormPlan {
  readonly kind: 'rms';
  readonly epsilon: number;
}

/** Rotary position embedding; `inverseFrequencies` has half as many entries as dimensions rotated. */
export interface RopePlan {
  /** Angle i turns dimensions (i, i + d/2) for `half`, (2i, 2i + 1) for `interleaved`. */
  readonly layout: 'half' | 'interleaved';
  readonly inverseFrequencies: readonly number[];
}

/** Scaled dot-product attention with key and value heads shared by groups of query heads. */
export interface AttentionPlan {
  readonly kind: 'grouped-query';
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Multiplies the scores before the softmax. */
  readonly scale: number;
  /** `projection`: q and k are normalised over their whole width before the split into heads. */
  readonly queryKeyNorm:
    { readonly kind: 'none' } | { readonly kind: 'projection'; readonly epsilon: number };
  /** q, k and v are clamped to ±clip after their normalisation, before the rotation; null: not at all. */
  readonly clip: number | null;
  readonly rope: RopePlan;
}

/** How a router turns logits into gate weights; which experts are chosen is decided on the same scores. */
export interface RouterPlan {
  readonly scoring: 'softmax';
  /** Divide the chosen experts' weights by their sum. */
  readonly normalise: boolean;
}

/** A layer of experts `down(silu(gate x) ⊙ up x)`, each token sent to `expertsPerToken` of them. */
export interface MoePlan {
  readonly kind: 'moe';
  readonly experts: number;
  readonly expertsPerToken: number;
  /** Width of one expert. */
  readonly intermediate: number;
  readonly router: RouterPlan;
}

/** `h += attention(inputNorm(h)); h += feedForward(postAttentionNorm(h))`. */
export interface LayerPlan {
  readonly inputNorm: NormPlan;
  readonly attention: AttentionPlan;
  readonly postAttentionNorm: NormPlan;
  readonly feedForward: MoePlan;
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
  /** The head shares the embedding's weights. */
  readonly tiedHead: boolean;
  /** Coefficient the checkpoint's authors used for the load-balancing loss, where its config states one. */
  readonly publishedAuxCoefficient: number | null;
}

/** Decoder indices of the layers with experts, in order: the rows of every routing statistic. */
export function moeLayerIndices(plan: DecoderPlan): number[] {
  return plan.layers.flatMap((layer, index) => (layer.feedForward.kind === 'moe' ? [index] : []));
}

/** Inverse frequencies `θ^(−2i/d)` for i < d/2, rounded to float32 as the reference implementations do. */
export function inverseFrequencies(theta: number, dimensions: number): number[] {
  return Array.from({ length: dimensions / 2 }, (_, i) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / dimensions))),
  );
}
