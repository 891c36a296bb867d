/**
 * The slots a training method fills. A method is one file over these; the engine reads nothing else of it.
 *
 * Routing is written as `weights = multiplicity ⊙ f(logits)`: which experts a token visits is decided outside the graph
 * and enters it as a constant matrix, so no gradient of a top-k selection is ever needed.
 */
import type { z } from 'zod';
import type { AdapterPlan } from './adapters.ts';
import type { Additions } from './addition-plans.ts';
import type { DecoderPlan, RouterPlan } from './decoder-plan.ts';
import type { ExpertConfig, MethodContext, WarmUp } from './method-context.ts';
import {
  baseRouters,
  hasGradient,
  isAdded,
  parametersOf,
  type AddedParameter,
  type Parameter,
} from './parameters.ts';
import type { Distillation, GeneralSample, LayerUsage, Routing, RoutingLoss } from './routing-slots.ts';

/** Where in the run a hook is called; `step` counts from 0. */
export interface StepPosition {
  readonly step: number;
  readonly totalSteps: number;
  readonly microBatch: number;
  readonly microBatches: number;
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
  /** Experts by token, one `[vocabulary × k]` table for each MoE layer; −1 where a token has none of its own. */
  readonly tokenExperts?: readonly Int32Array[];
}

/**
 * What a forward pass is for: training, using the model (validation, generation), or using it without its local experts.
 */
export type Mode = 'training' | 'inference' | 'base';

/** A method at work on one model: its options are fixed, its buffers live here. */
export interface MethodSession {
  /** Whether a parameter of the checkpoint trains. */
  trainable(parameter: Parameter): boolean;
  /** What the method adds to the model; all of it trains. Absent: nothing. */
  readonly added?: readonly AddedParameter[];
  /** The adapters among what is added; null or absent: none. */
  readonly adapters?: AdapterPlan | null;
  /**
   * What the MoE layers have besides, or instead of additions that the checkpoint has: parameters that it lacks are among
   * what is added. Absent: nothing.
   */
  readonly additions?: Partial<Additions>;
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
  /** Auxiliary losses of the present step. */
  readonly losses: readonly RoutingLoss[];
  /** How the token routers among what is added learn in the present step; null or absent: they do not. */
  readonly distillation?: Distillation | null;
  /** Ids of parameters that train, and stay as they are from now on. Absent: none. */
  readonly frozen?: ReadonlySet<string>;
  /** Statistics of this method look at padding, so padding must be computed; otherwise it skips the experts. */
  readonly readsPadding: boolean;
  /** Before the first micro-batch of a step. */
  beforeStep?(at: Pick<StepPosition, 'step' | 'totalSteps'>): void;
  /** After the backward pass of a micro-batch; one usage for each MoE layer. */
  afterMicroBatch(usage: readonly LayerUsage[], at: StepPosition): void;
  /**
   * After the optimizer step, before `afterStep`: looks at weights, or changes them by hand.
   * @param weights values of a parameter that trains, to be changed in place.
   */
  rewriteWeights?(at: StepPosition, weights: (id: string) => Float32Array): void;
  /** After the optimizer step; returns sentences worth telling the user. */
  afterStep(at: StepPosition): readonly string[];
  routerState(): RouterState;
  /** Everything beyond weights that a resumed run needs, as JSON. */
  save(): unknown;
  /** The inverse of `save`. */
  restore(state: unknown): void;
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
  /** Full fine-tuning to do first; absent or null: none. */
  warmUp?(options: z.output<Options>, plan: DecoderPlan): WarmUp | null;
  start(options: z.output<Options>, context: MethodContext): MethodSession;
}

/** Whether a loss of the method on what is trained on compares with the routers as they were. */
export function readsBaseRouting({ losses }: MethodSession): boolean {
  return losses.some((loss) => loss.readsBaseRouting && loss.general === undefined);
}

/** The general data that losses of the method are taken on; null: none. */
export function generalSampleOf({ losses }: Pick<MethodSession, 'losses'>): GeneralSample | null {
  return losses.find(({ general }) => general !== undefined)?.general ?? null;
}

/** Everything a model has under a method: the parameters of the checkpoint, then those the method and its losses add. */
export function parametersUnder(plan: DecoderPlan, session: MethodSession): readonly Parameter[] {
  const base = readsBaseRouting(session) ? baseRouters(plan) : [];
  return [...parametersOf(plan), ...(session.added ?? []), ...base];
}

/** Whether a parameter trains under a method. */
export function trains(session: MethodSession, parameter: Parameter): boolean {
  if (isAdded(parameter)) return parameter.frozen !== true;
  return hasGradient(parameter) && session.trainable(parameter);
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
