/**
 * The slots a training method fills. A method is one file over these; the engine reads nothing else of it.
 *
 * Routing is written as `weights = multiplicity ⊙ f(logits)`: which experts a token visits is decided outside the graph
 * and enters it as a constant matrix, so no gradient of a top-k selection is ever needed.
 */
import type { z } from 'zod';
import type { Value } from '#worker/graph/index.ts';
import type { AdapterPlan } from './adapters.ts';
import type { LowRankPlan } from './low-rank.ts';
import type { SubmatrixPlan } from './submatrices.ts';
import type { DecoderPlan, RouterPlan } from './decoder-plan.ts';
import type { GateRole } from './parameter-roles.ts';
import { hasGradient, isAdded, parametersOf, type AddedParameter, type Parameter } from './parameters.ts';

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

/** Turns router logits into a choice of experts and their gate weights. */
export interface Routing {
  /** Names of the buffers below that are vectors, and of those that are matrices; absent: there are none. */
  readonly buffers: readonly string[];
  readonly tokenBuffers?: readonly string[];
  /** What the choice is made on, `[tokens, experts]`. */
  scores(logits_NE: Value, buffers: RouteBuffers): Value;
  /** Gate weights as applied; zero where the multiplicity is zero. */
  weights(logits_NE: Value, multiplicity_NE: Value, buffers: RouteBuffers): Value;
  /**
   * What becomes of the raw logits before anything else reads them; absent: nothing. Its weights are added parameters of
   * the layer.
   */
  readonly transform?: (
    logits_NE: Value,
    weight: (role: GateRole, shape: readonly number[]) => Value,
  ) => Value;
  /** Absent: only routed pairs of token and expert count, in value and gradient. */
  readonly dense?: DenseGate;
  /**
   * Chooses for `tokens` rows of `scores_NE`. `layer` counts MoE layers from 0.
   * @param include_N tokens with 0 here visit no expert, whatever is chosen; absent: all do.
   */
  choose(scores_NE: Float32Array, tokens: number, layer: number, include_N?: Uint8Array): Choice;
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
  /** Softmax of the raw logits, without any bias. */
  readonly probabilities_NE: Float32Array;
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

/** An auxiliary loss on routing. */
export interface RoutingLoss {
  readonly name: string;
  readonly coefficient: number;
  /** `mean`: each micro-batch counts 1 / (micro-batches of the step); `sum`: each counts 1. */
  readonly accumulation: 'mean' | 'sum';
  /** The loss looks at padding, so padding must be computed. */
  readonly readsPadding?: true;
  /** The loss before its coefficient, and its gradient for each layer. */
  evaluate(layers: readonly LayerRouting[]): {
    readonly value: number;
    readonly gradients: readonly LayerRoutingGradient[];
  };
}

/** Where in the run a hook is called; `step` counts from 0. */
export interface StepPosition {
  readonly step: number;
  readonly totalSteps: number;
  readonly microBatch: number;
  readonly microBatches: number;
}

/** How much the untouched model uses each expert on a sample of the training data, `[MoE layers][experts]`. */
export interface ExpertScores {
  /** Share of the choices; sums to 1 in each layer. */
  readonly token: readonly (readonly number[])[];
  /** Mean over tokens of the softmax value of an expert where it is chosen, before any normalisation; sums to at most 1. */
  readonly gate: readonly (readonly number[])[];
}

/** Which parts of a model expert-specialised fine-tuning trains. */
export interface ExpertConfig {
  /** One list for each MoE layer. */
  readonly experts: readonly (readonly number[])[];
  readonly sharedExperts: boolean;
  /** Everything that is not an expert: attention, routers, norms, embedding, head. */
  readonly nonExpertModules: boolean;
}

/** What a method exposes for charts and exports. */
export interface RouterState {
  /** `[layers × experts]`. */
  readonly bias_LE?: Float32Array;
  /** What the bias moves by at each update now. */
  readonly biasSpeed?: number;
  readonly condensers?: readonly (readonly number[])[];
  readonly expertConfig?: ExpertConfig;
  /** Vectors that stand for experts in the value, one `[experts × hidden]` matrix for each MoE layer. */
  readonly defaultOutputs?: readonly Float32Array[];
}

/**
 * What a forward pass is for: training, using the model (validation, generation), or using it without its local experts.
 */
export type Mode = 'training' | 'inference' | 'base';

/** A small MLP in every MoE layer, whose output is added to that of the experts: see `localExpertStage`. */
export interface LocalExpertPlan {
  readonly rank: number;
  /** Multiplies its output. */
  readonly scale: number;
  /** Each token has a learned share of it, between 0 and 1. */
  readonly gated: boolean;
  /** When the model is used, the share is 1 where it is above this, else 0; null: it is what it is. */
  readonly threshold: number | null;
}

/** A method at work on one model: its options are fixed, its buffers live here. */
export interface MethodSession {
  /** Whether a parameter of the checkpoint trains. */
  trainable(parameter: Parameter): boolean;
  /** What the method adds to the model; all of it trains. Absent: nothing. */
  readonly added?: readonly AddedParameter[];
  /** The adapters among what is added; null or absent: none. */
  readonly adapters?: AdapterPlan | null;
  /** Local experts, whose parameters are among what is added; absent: none. */
  readonly localExpert?: LocalExpertPlan;
  /**
   * A token that the model without local experts predicts wrong counts 1 + this many times in the loss of training; absent
   * or 0: all count alike.
   */
  readonly wrongTokenGain?: number;
  readonly routing: Routing;
  /** How the trained model is used, where that is another routing than the one it is trained with. */
  readonly inferenceRouting?: Routing;
  /** The present value of a routing buffer. `layer` counts MoE layers from 0. */
  buffer(name: string, layer: number): Float32Array;
  /** The same of a matrix for `tokens` tokens: the same numbers however often it is asked within a micro-batch. */
  tokenBuffer?(name: string, layer: number, tokens: number): Float32Array;
  /** How many experts a token passes through in training at most, where that is not the router's number. */
  readonly visitedExperts?: (shape: RouterShape, layer: number) => number;
  readonly losses: readonly RoutingLoss[];
  /** Statistics of this method look at padding, so padding must be computed; otherwise it skips the experts. */
  readonly readsPadding: boolean;
  /** Before the first micro-batch of a step. */
  beforeStep?(at: Pick<StepPosition, 'step' | 'totalSteps'>): void;
  /** After the backward pass of a micro-batch; one usage for each MoE layer. */
  afterMicroBatch(usage: readonly LayerUsage[], at: StepPosition): void;
  /** After the optimizer step; returns sentences worth telling the user. */
  afterStep(at: StepPosition): readonly string[];
  routerState(): RouterState;
  /** Everything beyond weights that a resumed run needs, as JSON. */
  save(): unknown;
  /** The inverse of `save`. */
  restore(state: unknown): void;
}

/** What noise is drawn for: one layer in one micro-batch, all counted from 0. */
export interface NoisePlace {
  readonly step: number;
  readonly microBatch: number;
  readonly layer: number;
}

/** Adapters of an earlier training. */
export interface GivenAdapters {
  readonly plan: LowRankPlan;
  /** By id of the parameter. */
  readonly values: ReadonlyMap<string, Float32Array>;
}

/** How good each sub-matrix of a weight is, row by row of sub-matrices, by id of the weight. */
export type SubmatrixScores = ReadonlyMap<string, Float32Array>;

/** Full fine-tuning before a run, by whose gradients a method chooses sub-matrices. The weights it moved are given up. */
export interface WarmUp {
  readonly steps: number;
  /** Null: that of the run. */
  readonly learningRate: number | null;
  /** Rows and columns of a sub-matrix. */
  readonly size: number;
  /** What the gradients of a weight, added up over the steps, are scored by; null: none of it can train. */
  readonly scoreOf: (parameter: Parameter) => SubmatrixScore | null;
  /** Chooses by the scores. */
  readonly choose: (scores: SubmatrixScores) => SubmatrixPlan;
}

/** Score of a sub-matrix G of added-up gradients: `|mean G|`, `mean |G|`, or `√Σ G²`. */
export type SubmatrixScore = 'absOfMean' | 'meanOfAbs' | 'l2';

/** What a method may look at when it starts. */
export interface MethodContext {
  readonly plan: DecoderPlan;
  /** Number of MoE layers. */
  readonly moeLayers: number;
  /** Seed of the run, for what a method draws at random. */
  readonly seed: number;
  /** `count` numbers of the standard Gumbel distribution that depend on the seed and the place alone. */
  gumbel(place: NoisePlace, count: number): Float32Array;
  /** Reads a file of router biases (`moe_bias_states.json`): one vector for each MoE layer. */
  readBias(path: string): readonly (readonly number[])[];
  /** Reads a file of condensers (`forced_experts_records.json`): one list for each MoE layer. */
  readCondensers(path: string): readonly (readonly number[])[];
  /**
   * Reads a file of experts to train (`expert_cfg.json`).
   * @param firstLayer what the file calls the first decoder layer.
   */
  readExpertConfig(path: string, firstLayer: 0 | 1): ExpertConfig;
  /** Reads a folder of low-rank adapters in the format of PEFT. */
  readAdapters(path: string): GivenAdapters;
  /** Reads a file of default outputs (`default_outputs.safetensors`): one `[experts × hidden]` matrix for each MoE layer. */
  readDefaultOutputs(path: string): Float32Array[];
  /** What `Method.warmUp` chose; null where there was none. */
  readonly submatrices: SubmatrixPlan | null;
  /** What `Method.sampleTokens` asked for; null where nothing was routed. */
  readonly expertScores: ExpertScores | null;
}

/** A training method: options as a schema (form, defaults, help and validation follow from it) and a session. */
export interface Method<Options extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly title: string;
  /** One line: what it trains. */
  readonly trains: string;
  /** One line: what a step costs relative to full fine-tuning. */
  readonly cost: string;
  /** Paper or code it comes from. */
  readonly source: string;
  readonly options: Options;
  /**
   * What a model must have for the method to make sense: layers of experts, or besides that gate weights that are the
   * scores themselves, which the method makes anew; absent: nothing.
   */
  readonly needs?: 'experts' | 'scores';
  /** Tokens of the training data to route through the untouched model before the start; absent or 0: none. */
  sampleTokens?(options: z.output<Options>): number;
  /** Full fine-tuning to do first; absent: none. */
  warmUp?(options: z.output<Options>, plan: DecoderPlan): WarmUp;
  start(options: z.output<Options>, context: MethodContext): MethodSession;
}

/** Everything a model has under a method: the parameters of the checkpoint, then those the method adds. */
export function parametersUnder(plan: DecoderPlan, { added = [] }: MethodSession): readonly Parameter[] {
  return [...parametersOf(plan), ...added];
}

/** Whether a parameter trains under a method. */
export function trains(session: MethodSession, parameter: Parameter): boolean {
  return isAdded(parameter) || (hasGradient(parameter) && session.trainable(parameter));
}

/** The routings of a session. */
export type Routings = Pick<MethodSession, 'routing' | 'inferenceRouting'>;

/** The routing of a forward pass. */
export function routingOf({ routing, inferenceRouting = routing }: Routings, mode: Mode): Routing {
  return mode === 'training' ? routing : inferenceRouting;
}

/** The router of a plan, for methods that adapt it. */
export interface RouterShape {
  readonly router: RouterPlan;
  readonly experts: number;
  readonly expertsPerToken: number;
}

/** Router shapes of all MoE layers, in order. */
export function routerShapes(plan: DecoderPlan): RouterShape[] {
  return plan.layers.flatMap(({ feedForward }) =>
    feedForward.kind === 'moe'
      ? [
          {
            router: feedForward.router,
            experts: feedForward.experts,
            expertsPerToken: feedForward.expertsPerToken,
          },
        ]
      : [],
  );
}
