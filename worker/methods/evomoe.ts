/**
 * The dense-to-sparse gate of EvoMoE (Nie et al. 2021, arXiv 2112.14397): tokens begin at many experts and end at few, as
 * the temperature of a noisy softmax falls.
 */
import { z } from 'zod';
import { UserError, invariant } from '#core/contract/errors.ts';
import { op, type Value } from '#worker/graph/index.ts';
import {
  chooseBy,
  chooseExperts,
  gateWeights,
  plainRouting,
  routerOf,
  routerShapes,
  shapeOf,
  type Choice,
  type ChoiceRule,
  type Choose,
  type LayerUsage,
  type Method,
  type MethodContext,
  type MethodSession,
  type RouteBuffers,
  type RouterShape,
  type Routing,
  type RoutingLoss,
  type StepPosition,
} from '#worker/model/index.ts';
import { copyFirstExpert } from './diversify.ts';
import { EvoOptions, temperatureAt } from './evomoe-options.ts';
import { gateBalancingLoss } from './gate-losses.ts';

const State = z.object({ shared: z.boolean() });

class EvoSession implements MethodSession {
  readonly routing: Routing;
  readonly inferenceRouting: Routing;
  readonly readsPadding = false;
  readonly #options: EvoOptions;
  readonly #context: MethodContext;
  readonly #shapes: readonly RouterShape[];
  readonly #balancing: readonly RoutingLoss[];
  readonly #noise = new Map<number, { readonly key: string; readonly values: Float32Array }>();
  #step = 0;
  #microBatch = 0;
  #totalSteps = 0;
  /** The first expert of each layer has all tokens. */
  #isShared: boolean;

  constructor(options: EvoOptions, context: MethodContext) {
    this.#options = options;
    this.#context = context;
    this.#shapes = routerShapes(context.plan);
    this.#isShared = options.diversifyShare > 0;
    this.#balancing = options.auxLossCoefficient > 0 ? [gateBalancingLoss(options.auxLossCoefficient)] : [];
    this.routing = this.#sharedFirst(this.#gate());
    this.inferenceRouting = this.#sharedFirst(
      options.fewest === 'one' ? this.#topOne() : plainRouting(this.#shapes),
    );
  }

  get losses(): readonly RoutingLoss[] {
    return this.#isShared ? [] : this.#balancing;
  }

  trainable(): boolean {
    return true;
  }

  readonly visitedExperts = ({ experts }: RouterShape): number => experts;

  #gate(): Routing {
    const noisy = (logits_NE: Value, { noise, inverseTemperature }: RouteBuffers): Value =>
      noise === undefined || inverseTemperature === undefined
        ? op.softmax(logits_NE)
        : op.softmax(op.mul(op.add(logits_NE, noise), inverseTemperature));
    const published = routerOf(this.#shapes);
    const router =
      this.#options.fewest === 'published' ? published : ({ scoring: 'softmax', normalise: false } as const);
    return {
      buffers: ['inverseTemperature'],
      tokenBuffers: ['noise'],
      scores: noisy,
      weights: (logits_NE, multiplicity_NE, buffers) =>
        gateWeights(
          router,
          this.#options.noisyWeights ? noisy(logits_NE, buffers) : op.softmax(logits_NE),
          multiplicity_NE,
        ),
      choose: (scores_NE, ids_N, layer) =>
        this.#choose(scores_NE, ids_N.length, shapeOf(this.#shapes, layer)),
    };
  }

  /** A routing, but while there is a shared expert, that one alone with weight 1. */
  #sharedFirst(routing: Routing): Routing {
    if (this.#options.diversifyShare === 0) return routing;
    const { scale = 1 } = routerOf(this.#shapes);
    const choose: Choose = (scores_NE, ids_N, layer) =>
      this.#isShared
        ? { chosen_NK: new Int32Array(ids_N.length), k: 1, always: [], overlap: 'union' }
        : routing.choose(scores_NE, ids_N, layer);
    const { rule } = routing.choose;
    const firstAlone: ChoiceRule = { k: 0, always: [0], overlap: 'union' };
    return {
      ...routing,
      buffers: [...routing.buffers, 'shared'],
      weights: (logits_NE, multiplicity_NE, buffers) => {
        const { shared } = buffers;
        invariant(shared !== undefined, 'the buffer of the routing');
        const gated_NE = op.mul(routing.weights(logits_NE, multiplicity_NE, buffers), op.sub(1, shared));
        return op.add(gated_NE, op.mul(multiplicity_NE, op.mul(shared, scale)));
      },
      choose:
        rule === undefined
          ? choose
          : Object.assign(choose, {
              rule: (layer: number) => (this.#isShared ? firstAlone : rule(layer)),
            }),
    };
  }

  #topOne(): Routing {
    return {
      buffers: [],
      scores: (logits_NE) => op.softmax(logits_NE),
      weights: (logits_NE, multiplicity_NE) => op.mul(multiplicity_NE, op.softmax(logits_NE)),
      choose: chooseBy(this.#shapes, () => ({ k: 1, always: [], overlap: 'union' })),
    };
  }

  /** Experts above the threshold, and the fewest in any case. */
  #choose(scores_NE: Float32Array, tokens: number, shape: RouterShape): Choice {
    const { experts, expertsPerToken } = shape;
    const fewest = this.#options.fewest === 'one' ? 1 : expertsPerToken;
    if (this.#isHard()) {
      const chosen_NK = chooseExperts(shape, scores_NE, tokens, fewest);
      return { chosen_NK, k: fewest, always: [], overlap: 'union' };
    }
    const sorted_NE = chooseExperts(shape, scores_NE, tokens, experts);
    const chosen_NK = sorted_NE.map((expert, at) => {
      const isAbove = (scores_NE[Math.floor(at / experts) * experts + expert] ?? 0) > this.#options.threshold;
      return isAbove || at % experts < fewest ? expert : -1;
    });
    return { chosen_NK, k: experts, always: [], overlap: 'union' };
  }

  #fallSteps(): number {
    const { fallSteps, fallShare } = this.#options;
    return fallSteps ?? Math.max(1, Math.round(fallShare * (this.#totalSteps - this.#sharedSteps())));
  }

  #sharedSteps(): number {
    const { diversifyShare } = this.#options;
    return diversifyShare === 0 ? 0 : Math.max(1, Math.round(diversifyShare * this.#totalSteps));
  }

  /** Steps since there are experts to choose from. */
  #gateSteps(): number {
    return Math.max(0, this.#step - this.#sharedSteps());
  }

  #isHard(): boolean {
    return this.#totalSteps > 0 && this.#gateSteps() >= this.#fallSteps();
  }

  buffer(name: string, layer: number): Float32Array {
    const { experts } = shapeOf(this.#shapes, layer);
    if (name === 'shared') return new Float32Array(experts).fill(this.#isShared ? 1 : 0);
    const fall = this.#totalSteps === 0 ? Infinity : this.#fallSteps();
    const temperature = temperatureAt(this.#options, this.#gateSteps(), fall);
    return new Float32Array(experts).fill(1 / temperature);
  }

  tokenBuffer(_name: string, layer: number, tokens: number): Float32Array {
    const key = `${this.#step} ${this.#microBatch} ${tokens}`;
    const known = this.#noise.get(layer);
    if (known?.key === key) return known.values;
    const place = { step: this.#step, microBatch: this.#microBatch, layer };
    const values = this.#context.gumbel(place, tokens * shapeOf(this.#shapes, layer).experts);
    this.#noise.set(layer, { key, values });
    return values;
  }

  beforeStep({ step, totalSteps }: Pick<StepPosition, 'step' | 'totalSteps'>): void {
    this.#step = step;
    this.#totalSteps = totalSteps;
    this.#microBatch = 0;
    this.#isShared = step < this.#sharedSteps();
  }

  afterMicroBatch(_usage: readonly LayerUsage[], { microBatch }: StepPosition): void {
    this.#microBatch = microBatch + 1;
  }

  rewriteWeights({ step }: StepPosition, weights: (id: string) => Float32Array): void {
    if (step + 1 !== this.#sharedSteps()) return;
    const { diversity: kind, diversityAmount: amount } = this.#options;
    copyFirstExpert(this.#context.plan, this.#context.seed, { kind, amount }, weights);
  }

  afterStep({ step }: StepPosition): readonly string[] {
    const shared = this.#sharedSteps();
    if (step + 1 === shared) {
      this.#isShared = false;
      return [
        'All experts become copies of the shared one, changed at random; the temperature begins to fall.',
      ];
    }
    return step + 1 === shared + this.#fallSteps()
      ? [`The temperature has fallen: from step ${step + 2} on each token goes to the fewest experts.`]
      : [];
  }

  routerState() {
    return {};
  }

  /** All else follows from the step. */
  save(): z.input<typeof State> {
    return { shared: this.#isShared };
  }

  restore(saved: unknown): void {
    this.#isShared = State.parse(saved).shared;
  }
}

/** Dense-to-sparse gating. */
export const evoMoe: Method<typeof EvoOptions> = {
  name: 'evomoe',
  title: 'Dense-to-sparse gate',
  trains: 'Every weight; tokens begin at many experts and end at few.',
  cost: 'From experts ÷ k × in the expert layers, at a high temperature, down to 1 ×.',
  source: 'EvoMoE, Nie et al. 2021 (arXiv 2112.14397); by default its gate alone.',
  options: EvoOptions,
  needs: 'scores',
  start(options, context) {
    const router = routerOf(routerShapes(context.plan));
    const obstacle =
      router.scoring === 'sigmoid'
        ? 'scores experts with a sigmoid'
        : router.selectionBias && 'adds a bias to the scores it chooses by';
    if (obstacle !== undefined) {
      throw new UserError(
        'method/router',
        `evomoe chooses by the softmax of the router's logits; this ${context.plan.family} checkpoint ${obstacle}`,
        'Choose another method for this model.',
      );
    }
    const isRagged = context.plan.layers.some(
      ({ feedForward }) => feedForward.kind === 'moe' && feedForward.widths !== undefined,
    );
    if (isRagged && options.diversifyShare > 0) {
      throw new UserError(
        'method/widths',
        'method.options.diversifyShare: experts of this model have different widths and cannot become copies of one',
        'Set it to 0.',
      );
    }
    return new EvoSession(options, context);
  },
};
