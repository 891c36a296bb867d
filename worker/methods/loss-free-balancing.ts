/**
 * Loss-free balancing (Wang et al. 2024, arXiv 2408.15664), the bias rule of DeepSeek-V3: experts are chosen by score
 * plus bias and weighted by the score alone; after each step experts with fewer than average tokens are raised.
 */
import { z } from 'zod';
import { op, type Value } from '#worker/graph/index.ts';
import {
  gateWeights,
  plainRouting,
  routerOf,
  routerScores,
  routerShapes,
  type LayerUsage,
  type Method,
  type MethodContext,
  type MethodSession,
  type Routing,
  type RoutingLoss,
} from '#worker/model/index.ts';
import { addUsage, joinLayers, moveBias, plainLayers, usageOf, type BiasRule } from './router-bias.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';

const Options = z.strictObject({
  biasSpeed: z.number().min(0).default(1e-3).meta({
    title: 'Bias speed',
    unit: 'per step',
    description:
      'What a bias moves by after each step. The paper and DeepSeek-V3 use 0.001. 0: the bias stays as it is.',
  }),
  score: z.enum(['model', 'softmax', 'sigmoid']).default('model').meta({
    title: 'Router score',
    description:
      'What the bias is added to and gate weights are made of. model: as the checkpoint has it; another one changes what the model computes. The paper and DeepSeek-V3 use sigmoid.',
    advanced: true,
  }),
  normalise: z.enum(['model', 'yes', 'no']).default('model').meta({
    title: 'Divide gate weights by their sum',
    description: 'model: as the checkpoint has it. DeepSeek-V3: yes.',
    advanced: true,
  }),
  biasFile: z.string().nullable().default(null).meta({
    title: 'Start from bias file',
    description:
      'A moe_bias_states.json of an earlier run of this method; without one every bias starts at zero.',
    advanced: true,
  }),
  ...routingLossOptions,
});
type Options = z.output<typeof Options>;

const State = z.object({ bias: z.array(z.array(z.number())) });

/** Choices of real tokens, as the paper counts them. */
const rule: BiasRule = { usage: 'hard', padsInUsage: false, dtype: 'float32', clip: null };

class BalancingSession implements MethodSession {
  readonly losses: readonly RoutingLoss[];
  readonly readsPadding = false;
  readonly routing: Routing;
  readonly #biasSpeed: number;
  #bias: Float32Array[];
  /** Choices of each expert in the step so far. */
  #counts: Float64Array[];

  constructor(options: Options, context: MethodContext) {
    const shapes = routerShapes(context.plan);
    this.losses = routingLosses(options);
    this.#biasSpeed = options.biasSpeed;
    const given = options.biasFile === null ? null : context.readBias(options.biasFile);
    this.#bias = shapes.map(({ experts }, layer) =>
      Float32Array.from(given?.[layer] ?? new Float32Array(experts)),
    );
    this.#counts = this.#zeros();

    const published = routerOf(shapes);
    const router = {
      ...published,
      scoring: options.score === 'model' ? published.scoring : options.score,
      normalise: options.normalise === 'model' ? published.normalise : options.normalise === 'yes',
    };
    const score = (logits_NE: Value) => routerScores(router, logits_NE);
    this.routing = {
      buffers: ['bias'],
      lossScoring: router.scoring,
      scores: (logits_NE, { bias }) =>
        bias === undefined ? score(logits_NE) : op.add(score(logits_NE), bias),
      weights: (logits_NE, multiplicity_NE) => gateWeights(router, score(logits_NE), multiplicity_NE),
      choose: plainRouting(shapes).choose,
    };
  }

  #zeros(): Float64Array[] {
    return this.#bias.map((bias) => new Float64Array(bias.length));
  }

  trainable(): boolean {
    return true;
  }

  buffer(_name: string, layer: number): Float32Array {
    return this.#bias[layer] ?? new Float32Array(0);
  }

  afterMicroBatch(usage: readonly LayerUsage[]): void {
    addUsage(
      this.#counts,
      usage.map((layer) => usageOf(rule, layer)),
    );
  }

  afterStep(): readonly string[] {
    this.#bias.forEach((bias, layer) => moveBias(bias, this.#counts[layer] ?? [], -this.#biasSpeed, rule));
    this.#counts = this.#zeros();
    return [];
  }

  routerState() {
    return { bias_LE: joinLayers(this.#bias), biasSpeed: this.#biasSpeed };
  }

  save(): z.input<typeof State> {
    return { bias: plainLayers(this.#bias) };
  }

  restore(saved: unknown): void {
    this.#bias = State.parse(saved).bias.map((bias) => Float32Array.from(bias));
    this.#counts = this.#zeros();
  }
}

/** Loss-free balancing. */
export const lossFreeBalancing: Method<typeof Options> = {
  name: 'loss-free-balancing',
  title: 'Loss-free balancing',
  trains: 'Every weight, while a router bias that only chooses evens out the load of the experts.',
  cost: '1 ×; the bias costs nothing.',
  source: 'Wang et al. 2024 (arXiv 2408.15664); DeepSeek-V3 (arXiv 2412.19437).',
  options: Options,
  needs: 'scores',
  start: (options, context) => new BalancingSession(options, context),
};
