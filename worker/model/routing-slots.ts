/** What a method decides about routing, and what it is told about it. */
import type { Value } from '#worker/graph/index.ts';
import type { RouterPlan } from './decoder-plan.ts';

/**
 * Constants of a layer that the routing graphs read, by name: float32 `[experts]` vectors, and `[tokens, experts]` matrices
 * where they differ from token to token.
 */
export type RouteBuffers = Readonly<Record<string, Value>>;

/** The experts chosen for each token of a micro-batch in one layer. */
export interface Choice {
  /** `[tokens × k]`, by falling score; −1 where a token has fewer. */
  readonly chosen_NK: Int32Array;
  readonly k: number;
  /** Experts that see every token besides. */
  readonly always: readonly number[];
  /** An expert both chosen and always active counts once (`union`) or twice (`double`). */
  readonly overlap: 'union' | 'double';
}

/**
 * Gate weights of all experts, for methods in which an expert counts for tokens that are not sent to it. Gradients flow
 * through these weights in place of `Routing.weights` (a straight-through estimator). A pair of token and expert that is
 * not routed has a stand-in for the expert's output: its gate weight gets the gradient ⟨∂L/∂y, stand-in⟩, while neither
 * the expert nor the token gets any.
 */
export interface DenseGate {
  /** `[tokens, experts]`. Where the multiplicity is not zero, what the backward pass weighs the routed expert with. */
  weights(logits_NE: Value, multiplicity_NE: Value, buffers: RouteBuffers): Value;
  readonly standIn: StandIn;
}

/** What stands for the output of an expert on a token that is not sent to it. */
export type StandIn =
  /** What the expert would have computed: evaluated in the backward pass, one expert at a time. */
  | { readonly kind: 'output' }
  /** A vector for each expert, the same for all tokens. */
  | {
      readonly kind: 'vector';
      /** They are part of the value, with their dense weights; otherwise of the gradient only. */
      readonly inValue: boolean;
      /** The present vectors of a MoE layer, `[experts × hidden]`. */
      vectors_EH(layer: number): Float32Array;
    };

/** A choice that depends on nothing but the scores and the token itself. */
export interface ChoiceRule {
  /** The best experts by the router's rule, so many for each token. */
  readonly k: number;
  readonly always: Choice['always'];
  readonly overlap: Choice['overlap'];
  /** Experts that cannot be among the best; absent: all can. */
  readonly excluded?: readonly number[];
  /** Experts by token in place of the best, `[vocabulary × k]`; −1: the best one stays. Absent: of no token. */
  readonly tokenExperts_VK?: Int32Array;
}

/** Chooses experts. */
export interface Choose {
  /**
   * Chooses for each row of `scores_NE`. `layer` counts MoE layers from 0.
   * @param ids_N the token of each row; −1: the row visits no expert, whatever is chosen.
   */
  (scores_NE: Float32Array, ids_N: Int32Array, layer: number): Choice;
  /** The same as data, by which graphs choose too: see `choiceStage`. Absent: it cannot be said so. */
  readonly rule?: (layer: number) => ChoiceRule;
}

/** Turns router logits into a choice of experts and their gate weights. */
export interface Routing {
  /** Names of the buffers below that are vectors, and of those that are matrices; absent: there are none. */
  readonly buffers: readonly string[];
  readonly tokenBuffers?: readonly string[];
  /** What auxiliary losses take scores to be made by, where that is not the checkpoint's way. */
  readonly lossScoring?: RouterPlan['scoring'];
  /** What the choice is made on, `[tokens, experts]`. */
  scores(logits_NE: Value, buffers: RouteBuffers): Value;
  /** Gate weights as applied; zero where the multiplicity is zero. */
  weights(logits_NE: Value, multiplicity_NE: Value, buffers: RouteBuffers): Value;
  /** Absent: only routed pairs of token and expert count, in value and gradient. */
  readonly dense?: DenseGate;
  readonly choose: Choose;
}

/** What a micro-batch did to one MoE layer; vectors are `[experts]`. */
export interface LayerUsage {
  /** Sum of scores over real tokens, and over all positions. */
  readonly soft_E: Float32Array;
  readonly softAll_E: Float32Array;
  /** Number of choices over real tokens, and over all positions; always-active experts are not choices. */
  readonly hard_E: Uint32Array;
  readonly hardAll_E: Uint32Array;
  /** Sum of gate weights over real tokens. */
  readonly mass_E: Float32Array;
  /** What was chosen, and for which token; −1: padding. */
  readonly choice: Choice;
  readonly ids_N: Int32Array;
  /**
   * Mean output of each expert over the tokens sent to it, before gate weights, `[experts × hidden]`; zeros without tokens.
   * Only where stand-ins are vectors.
   */
  readonly meanOutput_EH?: Float32Array;
}

/** One layer's routing as an auxiliary loss sees it. */
export interface LayerRouting {
  readonly tokens: number;
  readonly experts: number;
  /** 1 for a real token, 0 for padding. */
  readonly mask_N: Uint8Array;
  /** Scores as a distribution (`routingProbabilities`), without any bias. */
  readonly probabilities_NE: Float32Array;
  /**
   * The same of the routers as the checkpoint has them, on the same inputs; on general data, of the whole model as it was. Only
   * where a loss reads it.
   */
  readonly baseProbabilities_NE?: Float32Array;
  /** `log Σ exp(logits)` of each row. */
  readonly logSumExp_N: Float32Array;
  /** How often each expert is among the k largest raw probabilities of a real token. */
  readonly counts_E: Uint32Array;
  /** Rows of the micro-batch: each holds as many tokens. */
  readonly rows: number;
  /** What was chosen, padding included. */
  readonly choice: Choice;
  /** Gate weights as applied, and how often each expert counts; zero for padding that visits no expert. */
  readonly weights_NE: Float32Array;
  readonly multiplicity_NE: Float32Array;
}

/** Gradient of an auxiliary loss with respect to one layer's routing; null: none. */
export interface LayerRoutingGradient {
  readonly probabilities_NE: Float32Array | null;
  readonly logSumExp_N: Float32Array | null;
  /** By way of the gate weights. */
  readonly weights_NE?: Float32Array | null;
}

/** General data that a loss is taken on. */
export interface GeneralSample {
  /** So many tokens at most, of which each step looks at one micro-batch in turn. */
  readonly tokens: number;
}

/** An auxiliary loss on routing. */
export interface RoutingLoss {
  readonly name: string;
  readonly coefficient: number;
  /** `mean`: each micro-batch counts 1 / (micro-batches of the step); `sum`: each counts 1. */
  readonly accumulation: 'mean' | 'sum';
  /** The loss looks at padding, so padding must be computed. */
  readonly readsPadding?: true;
  /** The loss compares with routing by the routers as they were. */
  readonly readsBaseRouting?: true;
  /** The loss is taken on general data, in a micro-batch of its own in each step. Absent: on what is trained on. */
  readonly general?: GeneralSample;
  /** The losses of the session look at the softmax of the logits, whatever scores are made by. */
  readonly readsSoftmax?: true;
  /** The loss before its coefficient, and its gradient for each layer. */
  evaluate(layers: readonly LayerRouting[]): {
    readonly value: number;
    readonly gradients: readonly LayerRoutingGradient[];
  };
}

/**
 * How token routers (`tokenRouterParameters`) learn what was chosen: by `mean_t −Σ_e y_te log softmax(ŝ_t)_e` over real tokens, mean
 * over layers, y the shares of a token's choices. Each micro-batch counts 1 / (micro-batches of the step).
 */
export interface Distillation {
  /** Numbers of a word embedding. */
  readonly width: number;
  readonly coefficient: number;
}
