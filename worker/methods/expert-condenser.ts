/**
 * ExpertCondenser (arXiv 2604.23036): bias-driven sparsification with always-active condenser experts.
 *
 * Phase 1 trains everything while a router bias outside the gradient raises the experts that are used most. Phase 2
 * keeps the experts with the lowest bias, the condensers, active for every token, weighted by their own gate.
 */
import { z } from 'zod';
import { gini } from '#core/load/load-metrics.ts';
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
import { trainedParts, type TrainedParts } from './adapter-options.ts';
import { checkCounts, condenserCounts, CondenserOptions } from './condenser-options.ts';
import { allocateCondensers, selectCondensers } from './condenser-selection.ts';
import { addUsage, joinLayers, moveBias, plainLayers, usageOf, type BiasRule } from './router-bias.ts';

const State = z.object({
  bias: z.array(z.array(z.number())),
  softUsage: z.array(z.array(z.number())),
  hardUsage: z.array(z.array(z.number())),
  condensers: z.array(z.array(z.int())).nullable(),
  pending: z.array(z.array(z.number())).nullable(),
});

class CondenserSession implements MethodSession {
  readonly losses = [];
  readonly readsPadding: boolean;
  readonly routing: Routing;
  readonly trainable: TrainedParts['trainable'];
  readonly added: TrainedParts['added'];
  readonly adapters: TrainedParts['adapters'];
  readonly #options: CondenserOptions;
  readonly #rule: BiasRule;
  readonly #counts: number[];
  #bias: Float32Array[];
  #softUsage: Float64Array[];
  #hardUsage: Float64Array[];
  #pending: Float64Array[] | null = null;
  #condensers: number[][] | null = null;

  constructor(options: CondenserOptions, context: MethodContext) {
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
export const expertCondenser: Method<typeof CondenserOptions> = {
  name: 'expert-condenser',
  title: 'Expert condensers',
  trains: 'Every weight, while a router bias concentrates use and r condensers per layer see every token.',
  cost: 'About (k + r) / k of full fine-tuning in the expert layers during the condenser phase; 1 × before it.',
  source: 'ExpertCondenser, arXiv 2604.23036, and its released code.',
  options: CondenserOptions,
  needs: 'scores',
  start: (options, context) => new CondenserSession(options, context),
};
