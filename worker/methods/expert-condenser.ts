/**
 * ExpertCondenser (arXiv 2604.23036): bias-driven sparsification with always-active condenser experts.
 *
 * Phase 1 trains everything while a router bias outside the gradient raises the experts that are used most. Phase 2
 * keeps the experts with the lowest bias, the condensers, active for every token, weighted by their own gate.
 */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { op, type Value } from '#worker/graph/index.ts';
import {
  chooseBy,
  gateWeights,
  routerOf,
  routerScores,
  routerShapes,
  shapeOf,
  type LayerUsage,
  type Method,
  type MethodContext,
  type MethodSession,
  type RouterShape,
  type Routing,
  type StepPosition,
} from '#worker/model/index.ts';
import { adapterChoice, trainedParts, type TrainedParts } from './adapter-options.ts';
import { allocateCondensers, gini, selectCondensers } from './condenser-selection.ts';
import { addUsage, joinLayers, moveBias, plainLayers, usageOf, type BiasRule } from './router-bias.ts';

const count = z.int().min(0);

const Options = z.strictObject({
  phase: z.enum(['bias', 'condensers', 'both']).default('both').meta({
    title: 'Phase',
    description:
      'bias: the router bias drifts, no condensers; condensers: they are chosen at the start, from a bias file or an earlier run; both: one after the other in this run.',
  }),
  phaseSplit: z.number().gt(0).lt(1).default(0.5).meta({
    title: 'Share of the bias phase',
    unit: '× steps',
    description: 'Where phase "both" switches. The published runs give each phase one epoch.',
  }),
  condensersPerLayer: z
    .union([count, z.array(count).min(1)])
    .default(2)
    .meta({
      title: 'Condensers per layer',
      description:
        'One number for all layers, three for early, middle and late layers, or one for each layer. The paper uses 2.',
    }),
  biasSpeed: z.number().min(0).default(1e-4).meta({
    title: 'Bias speed, bias phase',
    unit: 'per update',
    description:
      'What a bias moves by. Speed × updates is what matters: the published runs use 1e-4 (OLMoE) and 1e-3 (Qwen1.5-MoE).',
  }),
  condenserBiasSpeed: z.number().min(0).default(5e-5).meta({
    title: 'Bias speed, condenser phase',
    unit: 'per update',
    description: 'The published runs use 5e-5.',
  }),
  biasFile: z.string().nullable().default(null).meta({
    title: 'Start from bias file',
    description: 'A moe_bias_states.json of an earlier bias phase.',
    advanced: true,
  }),
  condensersFile: z.string().nullable().default(null).meta({
    title: 'Start from condensers file',
    description: 'A forced_experts_records.json; its choice is kept.',
    advanced: true,
  }),
  allocation: z.enum(['given', 'gini']).default('given').meta({
    title: 'Share condensers over layers',
    description: 'given: as stated above; gini: the same total, more where expert load is more uneven.',
    advanced: true,
  }),
  giniPower: z.number().positive().default(5).meta({
    title: 'Gini exponent',
    advanced: true,
    description: 'Higher: more for the most uneven layers.',
  }),
  maxPerLayer: z
    .int()
    .positive()
    .default(4)
    .meta({ title: 'Most condensers in a layer', advanced: true, description: 'For the gini allocation.' }),
  budget: z.enum(['add', 'replace']).default('add').meta({
    title: 'Budget',
    description:
      'add: condensers come on top of the k chosen experts (released code); replace: k − r are chosen beside r condensers.',
    advanced: true,
  }),
  overlap: z.enum(['union', 'double']).default('union').meta({
    title: 'Chosen condensers',
    description: 'An expert both chosen and condenser counts once (union) or twice (double, released code).',
    advanced: true,
  }),
  biasInWeights: z.boolean().default(true).meta({
    title: 'Bias in gate weights',
    description: 'On: gate weights are softmax(z + b) (released code). Off: the bias only chooses.',
    advanced: true,
  }),
  usage: z.enum(['soft', 'hard']).default('soft').meta({
    title: 'Usage',
    description: 'soft: sum of gate probabilities; hard: number of choices.',
    advanced: true,
  }),
  usageScope: z.enum(['allMicroBatches', 'lastMicroBatch']).default('allMicroBatches').meta({
    title: 'Usage of',
    description: 'All micro-batches of the step, or the last one only (released OLMoE code).',
    advanced: true,
  }),
  padsInUsage: z
    .boolean()
    .default(false)
    .meta({ title: 'Count padding', description: 'On: as the released code does.', advanced: true }),
  cadence: z.enum(['step', 'forward', 'authorsHook']).default('step').meta({
    title: 'Bias moves',
    description:
      'step: once per optimizer step; forward: after every micro-batch; authorsHook: after each micro-batch of every n-th step, n being the gradient accumulation (released OLMoE trainer).',
    advanced: true,
  }),
  biasDtype: z.enum(['float32', 'bfloat16']).default('float32').meta({
    title: 'Bias type',
    description: 'bfloat16 stops moving near 500 × speed, as the published runs did.',
    advanced: true,
  }),
  biasClip: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .meta({ title: 'Largest bias', description: 'null: unbounded.', advanced: true }),
  ...adapterChoice,
});
type Options = z.output<typeof Options>;

const State = z.object({
  bias: z.array(z.array(z.number())),
  softUsage: z.array(z.array(z.number())),
  hardUsage: z.array(z.array(z.number())),
  condensers: z.array(z.array(z.int())).nullable(),
  pending: z.array(z.array(z.number())).nullable(),
});

/** Counts for each of `layers` layers from one number, three (thirds: early, middle, late) or one each. */
function condenserCounts(given: number | readonly number[], layers: number): number[] {
  if (typeof given === 'number') return new Array<number>(layers).fill(given);
  if (given.length === layers) return [...given];
  const [early, middle, late] = given;
  if (given.length !== 3 || early === undefined || middle === undefined || late === undefined) {
    throw new UserError(
      'expert-condenser/condensers-per-layer',
      `method.options.condensersPerLayer has ${given.length} numbers; this model has ${layers} MoE layers`,
      `Give one number, three, or ${layers}.`,
    );
  }
  const third = Math.floor(layers / 3);
  return Array.from({ length: layers }, (_, l) => (l < third ? early : l < 2 * third ? middle : late));
}

/** Checks `counts` against the router before anything is trained. */
function checkCounts(counts: readonly number[], options: Options, context: MethodContext): void {
  const shapes = routerShapes(context.plan);
  counts.forEach((r, layer) => {
    const { experts, expertsPerToken } = shapeOf(shapes, layer);
    const most = options.budget === 'replace' ? expertsPerToken : experts;
    if (r > most) {
      throw new UserError(
        'expert-condenser/condensers-per-layer',
        `${r} condensers in MoE layer ${layer}, but budget "${options.budget}" allows ${most}`,
        'Choose fewer condensers per layer.',
      );
    }
  });
}

class CondenserSession implements MethodSession {
  readonly losses = [];
  readonly readsPadding: boolean;
  readonly routing: Routing;
  readonly trainable: TrainedParts['trainable'];
  readonly added: TrainedParts['added'];
  readonly adapters: TrainedParts['adapters'];
  readonly #options: Options;
  readonly #rule: BiasRule;
  readonly #counts: number[];
  #bias: Float32Array[];
  #softUsage: Float64Array[];
  #hardUsage: Float64Array[];
  #pending: Float64Array[] | null = null;
  #condensers: number[][] | null = null;

  constructor(options: Options, context: MethodContext) {
    const shapes = routerShapes(context.plan);
    this.#options = options;
    this.readsPadding = options.padsInUsage;
    ({
      trainable: this.trainable,
      added: this.added,
      adapters: this.adapters,
    } = trainedParts(options, context));
    this.#rule = {
      usage: options.usage,
      padsInUsage: options.padsInUsage,
      dtype: options.biasDtype,
      clip: options.biasClip,
    };
    this.#counts = condenserCounts(options.condensersPerLayer, context.moeLayers);
    checkCounts(this.#counts, options, context);
    const given = options.biasFile === null ? null : context.readBias(options.biasFile);
    this.#bias = shapes.map(({ experts }, layer) =>
      Float32Array.from(given?.[layer] ?? new Float32Array(experts)),
    );
    this.#softUsage = shapes.map(({ experts }) => new Float64Array(experts));
    this.#hardUsage = shapes.map(({ experts }) => new Float64Array(experts));
    if (options.condensersFile !== null)
      this.#condensers = context.readCondensers(options.condensersFile).map((layer) => [...layer]);

    const router = routerOf(shapes);
    const biased = (logits_NE: Value, bias_E: Value | undefined) =>
      bias_E === undefined ? logits_NE : op.add(logits_NE, bias_E);
    this.routing = {
      buffers: ['bias'],
      scores: (logits_NE, buffers) => routerScores(router, biased(logits_NE, buffers['bias'])),
      weights: (logits_NE, multiplicity_NE, buffers) =>
        gateWeights(
          router,
          routerScores(router, options.biasInWeights ? biased(logits_NE, buffers['bias']) : logits_NE),
          multiplicity_NE,
        ),
      choose: chooseBy(shapes, (layer) => {
        const always = this.#condensersOf(layer);
        const { expertsPerToken } = shapeOf(shapes, layer);
        return options.budget === 'replace'
          ? { k: expertsPerToken - always.length, always, overlap: options.overlap, excluded: always }
          : { k: expertsPerToken, always, overlap: options.overlap };
      }),
    };
  }

  buffer(_name: string, layer: number): Float32Array {
    return this.#bias[layer] ?? new Float32Array(0);
  }

  visitedExperts({ expertsPerToken }: RouterShape, layer: number): number {
    const { phase, budget, allocation, maxPerLayer } = this.#options;
    if (phase === 'bias' || budget === 'replace') return expertsPerToken;
    return expertsPerToken + (allocation === 'gini' ? maxPerLayer : (this.#counts[layer] ?? 0));
  }

  /** Phase "condensers" chooses at the first look, so that a restored bias is the one that counts. */
  #condensersOf(layer: number): readonly number[] {
    const condensers = this.#condensers ?? (this.#options.phase === 'condensers' ? this.#select() : []);
    return condensers[layer] ?? [];
  }

  #select(): number[][] {
    const counts =
      this.#options.allocation === 'given'
        ? this.#counts
        : allocateCondensers(
            this.#hardUsage.map((load) => gini(load) ** this.#options.giniPower),
            this.#counts.reduce((sum, r) => sum + r, 0),
            this.#options.maxPerLayer,
          );
    const condensers = this.#bias.map((bias, layer) =>
      selectCondensers(bias, this.#softUsage[layer] ?? [], counts[layer] ?? 0),
    );
    this.#condensers = condensers;
    return condensers;
  }

  get #speed(): number {
    return this.#condensers === null ? this.#options.biasSpeed : this.#options.condenserBiasSpeed;
  }

  #move(usage_LE: readonly ArrayLike<number>[]): void {
    this.#bias.forEach((bias, layer) => moveBias(bias, usage_LE[layer] ?? [], this.#speed, this.#rule));
  }

  afterMicroBatch(usage: readonly LayerUsage[], at: StepPosition): void {
    const now = usage.map((layer) => usageOf(this.#rule, layer));
    addUsage(
      this.#softUsage,
      usage.map((layer) => layer.soft_E),
    );
    addUsage(
      this.#hardUsage,
      usage.map((layer) => layer.hard_E),
    );
    switch (this.#options.cadence) {
      case 'forward':
        this.#move(now);
        return;
      case 'authorsHook':
        if ((at.step + 1) % at.microBatches === 0) this.#move(now);
        return;
      case 'step':
        if (this.#pending === null || this.#options.usageScope === 'lastMicroBatch') {
          this.#pending = now.map((layer) => Float64Array.from(layer));
        } else {
          addUsage(this.#pending, now);
        }
    }
  }

  afterStep(at: StepPosition): readonly string[] {
    if (this.#pending !== null) this.#move(this.#pending);
    this.#pending = null;
    const switchAt = Math.max(1, Math.round(at.totalSteps * this.#options.phaseSplit));
    if (this.#options.phase !== 'both' || this.#condensers !== null || at.step + 1 < switchAt) return [];
    const total = this.#select().reduce((sum, layer) => sum + layer.length, 0);
    return [`Condenser phase begins: ${total} condensers in ${this.#bias.length} layers.`];
  }

  routerState() {
    const state = { bias_LE: joinLayers(this.#bias), biasSpeed: this.#speed };
    return this.#condensers === null ? state : { ...state, condensers: this.#condensers };
  }

  save(): z.input<typeof State> {
    return {
      bias: plainLayers(this.#bias),
      softUsage: plainLayers(this.#softUsage),
      hardUsage: plainLayers(this.#hardUsage),
      condensers: this.#condensers,
      pending: this.#pending === null ? null : plainLayers(this.#pending),
    };
  }

  restore(saved: unknown): void {
    const state = State.parse(saved);
    this.#bias = state.bias.map((bias) => Float32Array.from(bias));
    this.#softUsage = state.softUsage.map((usage) => Float64Array.from(usage));
    this.#hardUsage = state.hardUsage.map((usage) => Float64Array.from(usage));
    this.#condensers = state.condensers;
    this.#pending = state.pending === null ? null : state.pending.map((usage) => Float64Array.from(usage));
  }
}

/** Expert condensers, both phases. */
export const expertCondenser: Method<typeof Options> = {
  name: 'expert-condenser',
  title: 'Expert condensers',
  trains: 'Every weight, while a router bias concentrates use and r condensers per layer see every token.',
  cost: 'About (k + r) / k of full fine-tuning in the expert layers during the condenser phase; 1 × before it.',
  source: 'ExpertCondenser, arXiv 2604.23036, and its released code.',
  options: Options,
  needs: 'scores',
  start: (options, context) => new CondenserSession(options, context),
};
