/**
 * StableMoE (Dai et al. 2022, arXiv 2204.08396): in the first stage the router learns with a balancing loss, and its choices
 * are distilled into a router that reads the token alone; in the second that one chooses, frozen, so that a token keeps its
 * experts while they learn.
 *
 * The paper's distilled router scores experts by a word embedding and is trained by cross-entropy on the choices. Of all
 * routers that read the token alone the one with the smallest such loss has each token's shares of choices as probabilities;
 * its k best experts are the most frequent ones. Counting them is the other way to distil: it needs no learning rate.
 */
import { z } from 'zod';
import { invariant } from '#core/contract/errors.ts';
import {
  chooseBy,
  plainRouting,
  routerShapes,
  shapeOf,
  type AddedParameter,
  type DecoderPlan,
  type Distillation,
  type LayerUsage,
  type Method,
  type MethodContext,
  type MethodSession,
  type RouterState,
  type Routing,
  type RoutingLoss,
  type StepPosition,
} from '#worker/model/index.ts';
import { loadDeviationLoss } from './gate-losses.ts';
import { SavedChoices, TokenChoices } from './token-choices.ts';
import { newTokenRouters, tokenRouterTables } from './token-routers.ts';

const Options = z.strictObject({
  stageSplit: z.number().positive().max(1).default(0.1).meta({
    title: 'Stage 1',
    unit: 'share of the steps',
    description:
      'Part of the steps in which the router chooses and learns; the paper has a tenth. 1: all of them.',
  }),
  balanceCoefficient: z.number().min(0).default(0.3).meta({
    title: 'Balancing loss of stage 1',
    unit: '× loss',
    description:
      'Pulls gate weights from experts with many tokens to those with few. The paper: 0.3. 0: off.',
  }),
  distilledBy: z.enum(['embedding', 'counts']).default('embedding').meta({
    title: 'How choices are distilled',
    description:
      'embedding: word embeddings that learn in stage 1 with the learning rate of the run, as in the paper; one too small for them leaves routing at random. counts: each token keeps the experts it went to most often, and tokens that did not occur in stage 1 go where the router sends them.',
  }),
  distillCoefficient: z.number().positive().default(0.3).meta({
    title: 'Distillation loss of stage 1',
    unit: '× loss',
    description: 'Cross-entropy of the router’s choices under the word embeddings. The paper: 0.3.',
    advanced: true,
  }),
  embeddingSize: z.int().positive().default(50).meta({
    title: 'Size of a word embedding',
    description: 'Numbers that stand for a token in each layer with experts. The paper: 50.',
    advanced: true,
  }),
});
type Options = z.output<typeof Options>;

const State = z.object({
  frozen: z.boolean(),
  choices: SavedChoices,
  /** What frozen embeddings choose: little-endian int16 `[vocabulary × k]` in base64, for each MoE layer. */
  tables: z.array(z.base64()).readonly(),
});

const nothing: ReadonlySet<string> = new Set();

class StableSession implements MethodSession {
  readonly readsPadding = false;
  readonly routing: Routing;
  /** Word embeddings and centroids; none where choices are counted. */
  readonly added: readonly AddedParameter[];
  readonly #options: Options;
  readonly #plan: DecoderPlan;
  readonly #balancing: readonly RoutingLoss[];
  readonly #choices: TokenChoices;
  readonly #addedIds: ReadonlySet<string>;
  /** Experts by token, `[vocabulary × k]` for each MoE layer; null in stage 1. */
  #tables: readonly Int32Array[] | null = null;
  /** The tables of word embeddings, as they are saved. */
  #saved: readonly string[] = [];
  /** The tables of the word embeddings at the end of stage 1, until they are frozen. */
  #learnt: readonly Int32Array[] | null = null;

  constructor(options: Options, { plan, seed }: MethodContext) {
    const shapes = routerShapes(plan);
    const plain = plainRouting(shapes);
    this.#options = options;
    this.#plan = plan;
    this.#balancing = options.balanceCoefficient > 0 ? [loadDeviationLoss(options.balanceCoefficient)] : [];
    this.#choices = new TokenChoices(shapes);
    this.added = this.#learns ? newTokenRouters(plan, options.embeddingSize, seed) : [];
    this.#addedIds = new Set(this.added.map(({ id }) => id));
    this.routing = {
      ...plain,
      choose: chooseBy(shapes, (layer) => {
        const { expertsPerToken: k } = shapeOf(shapes, layer);
        const tokenExperts_VK = this.#tables?.[layer];
        return { k, always: [], overlap: 'union', ...(tokenExperts_VK && { tokenExperts_VK }) };
      }),
    };
  }

  get #learns(): boolean {
    return this.#options.distilledBy === 'embedding';
  }

  get losses(): readonly RoutingLoss[] {
    return this.#tables === null ? this.#balancing : [];
  }

  get distillation(): Distillation | null {
    const { embeddingSize: width, distillCoefficient: coefficient } = this.#options;
    return this.#learns && this.#tables === null ? { width, coefficient } : null;
  }

  get frozen(): ReadonlySet<string> {
    return this.#tables === null ? nothing : this.#addedIds;
  }

  trainable(): boolean {
    return true;
  }

  buffer(name: string): Float32Array {
    throw new RangeError(`no routing buffer ${name}`);
  }

  afterMicroBatch(usage: readonly LayerUsage[]): void {
    if (this.#tables !== null) return;
    usage.forEach(({ choice, ids_N }, layer) => this.#choices.add(choice, ids_N, layer));
  }

  /** Whether stage 1 ends with this step. */
  #ends({ step, totalSteps }: StepPosition): boolean {
    const switchAt = Math.max(1, Math.round(totalSteps * this.#options.stageSplit));
    return this.#tables === null && step + 1 >= switchAt && step + 1 < totalSteps;
  }

  rewriteWeights(at: StepPosition, weights: (id: string) => Float32Array): void {
    if (this.#learns && this.#ends(at))
      this.#learnt = tokenRouterTables(this.#plan, this.#options.embeddingSize, weights);
  }

  afterStep(at: StepPosition): readonly string[] {
    if (!this.#ends(at)) return [];
    const tables = this.#learns ? this.#learnt : this.#choices.mostFrequent(this.#plan.vocabularySize);
    invariant(tables !== null, 'weights are looked at before the step ends');
    this.#freeze(tables);
    const share = Math.round(100 * this.#choices.shareIn(tables));
    return [
      `Stage 2 begins: tokens keep their experts in ${tables.length} layers. This routing makes ${share} % of the choices of stage 1.`,
    ];
  }

  #freeze(tables: readonly Int32Array[]): void {
    this.#tables = tables;
    this.#saved = this.#learns ? tables.map(encoded) : [];
  }

  routerState(): RouterState {
    return this.#tables === null ? {} : { tokenExperts: this.#tables };
  }

  save(): z.input<typeof State> {
    return { frozen: this.#tables !== null, choices: this.#choices.save(), tables: this.#saved };
  }

  restore(saved: unknown): void {
    const { frozen, choices, tables } = State.parse(saved);
    this.#choices.restore(choices);
    this.#tables = null;
    this.#saved = [];
    if (frozen)
      this.#freeze(
        this.#learns ? tables.map(decoded) : this.#choices.mostFrequent(this.#plan.vocabularySize),
      );
  }
}

function encoded(table_VK: Int32Array): string {
  return Buffer.from(Int16Array.from(table_VK).buffer).toString('base64');
}

function decoded(text: string): Int32Array {
  return Int32Array.from(new Int16Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer));
}

/** A router that learns, then one that is frozen. */
export const stableMoe: Method<typeof Options> = {
  name: 'stablemoe',
  title: 'StableMoE',
  trains: 'Every weight; after the first stage each token keeps its experts.',
  cost: '1 ×; word embeddings for each layer with experts take memory besides.',
  source:
    'StableMoE, Dai et al. 2022 (arXiv 2204.08396), with the gate weights and the number of experts of the checkpoint.',
  options: Options,
  needs: 'scores',
  start: (options, context) => new StableSession(options, context),
};
