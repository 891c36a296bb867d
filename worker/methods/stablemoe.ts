/**
 * StableMoE (Dai et al. 2022, arXiv 2204.08396): in the first stage the router learns with a balancing loss, and its choices
 * are distilled into a router that reads the token alone; in the second that one chooses, frozen, so that a token keeps its
 * experts while they learn.
 *
 * The paper's distilled router scores experts by a word embedding and is trained by cross-entropy on the choices. Of all
 * routers that read the token alone the one with the smallest such loss has each token's shares of choices as probabilities;
 * its k best experts are the most frequent ones, which are counted here. So distilling has no weights, no coefficient and no
 * learning rate that could be too low.
 */
import { z } from 'zod';
import {
  plainRouting,
  routerShapes,
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
import { chooseByToken } from './token-table.ts';

const Options = z.strictObject({
  stageSplit: z.number().positive().max(1).default(0.1).meta({
    title: 'Stage 1',
    unit: 'share of the steps',
    description:
      'Part of the steps in which the router chooses and learns; the paper has a tenth. Tokens that do not occur in it have no frozen experts. 1: all of them.',
  }),
  balanceCoefficient: z.number().min(0).default(0.3).meta({
    title: 'Balancing loss of stage 1',
    unit: '× loss',
    description:
      'Pulls gate weights from experts with many tokens to those with few. The paper: 0.3. 0: off.',
  }),
});
type Options = z.output<typeof Options>;

const State = z.object({ frozen: z.boolean(), choices: SavedChoices });

class StableSession implements MethodSession {
  readonly readsPadding = false;
  readonly routing: Routing;
  readonly #options: Options;
  readonly #vocabulary: number;
  readonly #balancing: readonly RoutingLoss[];
  readonly #choices: TokenChoices;
  /** Experts by token, `[vocabulary × k]` for each MoE layer; null in stage 1. */
  #tables: readonly Int32Array[] | null = null;

  constructor(options: Options, { plan }: MethodContext) {
    const shapes = routerShapes(plan);
    const plain = plainRouting(shapes);
    this.#options = options;
    this.#vocabulary = plan.vocabularySize;
    this.#balancing = options.balanceCoefficient > 0 ? [loadDeviationLoss(options.balanceCoefficient)] : [];
    this.#choices = new TokenChoices(shapes);
    this.routing = {
      ...plain,
      choose: (scores_NE, ids_N, layer) => {
        const routed = plain.choose(scores_NE, ids_N, layer);
        const table_VK = this.#tables?.[layer];
        return table_VK === undefined ? routed : chooseByToken(table_VK, ids_N, routed);
      },
    };
  }

  get losses(): readonly RoutingLoss[] {
    return this.#tables === null ? this.#balancing : [];
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

  afterStep({ step, totalSteps }: StepPosition): readonly string[] {
    const switchAt = Math.max(1, Math.round(totalSteps * this.#options.stageSplit));
    if (this.#tables !== null || step + 1 < switchAt || step + 1 === totalSteps) return [];
    this.#tables = this.#choices.mostFrequent(this.#vocabulary);
    return [
      `Stage 2 begins: ${this.#choices.tokens} tokens keep their experts in ${this.#tables.length} layers.`,
    ];
  }

  routerState(): RouterState {
    return this.#tables === null ? {} : { tokenExperts: this.#tables };
  }

  save(): z.input<typeof State> {
    return { frozen: this.#tables !== null, choices: this.#choices.save() };
  }

  restore(saved: unknown): void {
    const { frozen, choices } = State.parse(saved);
    this.#choices.restore(choices);
    this.#tables = frozen ? this.#choices.mostFrequent(this.#vocabulary) : null;
  }
}

/** A router that learns, then one that is frozen. */
export const stableMoe: Method<typeof Options> = {
  name: 'stablemoe',
  title: 'StableMoE',
  trains: 'Every weight; after the first stage each token keeps the experts it went to most often.',
  cost: '1 ×.',
  source:
    'StableMoE, Dai et al. 2022 (arXiv 2204.08396), with the gate weights and the number of experts of the checkpoint; choices are distilled by counting.',
  options: Options,
  needs: 'scores',
  start: (options, context) => new StableSession(options, context),
};
