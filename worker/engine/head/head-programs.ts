/** The programs behind the last layer: head and loss. */
import { gradient, type Graph } from '#worker/graph/index.ts';
import {
  labelStage,
  logSumExpStage,
  logitsStage,
  lossStage,
  type DecoderPlan,
  type WeightDtypes,
} from '#worker/model/index.ts';
import {
  backward,
  typesOf,
  useKey,
  type ProgramCache,
  type StageProgram,
  type WeightUse,
} from '../stages/stage-program.ts';
import { stageRoles } from '../stages/stage-roles.ts';

/** The head as a whole, or in slices where nothing of it trains. */
export class HeadPrograms {
  readonly #cache: ProgramCache;
  readonly #plan: DecoderPlan;

  constructor(cache: ProgramCache, plan: DecoderPlan) {
    this.#cache = cache;
    this.#plan = plan;
  }

  logits(dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(`logits ${typesOf(stageRoles.head, dtypes)}`, () =>
      logitsStage(this.#plan, dtypes),
    );
  }

  /** Logits of a slice. */
  sliceLogits(dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(`slice logits ${typesOf(stageRoles.head, dtypes)}`, () =>
      logitsStage(this.#plan, dtypes, 'v'),
    );
  }

  loss(dtypes: WeightDtypes): Promise<StageProgram> {
    return this.#cache.program(`loss ${typesOf(stageRoles.head, dtypes)}`, () =>
      lossStage(this.#plan, dtypes),
    );
  }

  /** Loss and its gradient in one run, so that logits are never kept. */
  lossBackward(use: WeightUse): Promise<StageProgram> {
    return this.#cache.program(`loss' ${useKey(stageRoles.head, use)}`, () =>
      backward(lossStage(this.#plan, use.dtypes), {
        outputs: ['loss'],
        through: ['h'],
        saved: [],
        use,
        valueToo: ['loss'],
      }),
    );
  }

  /** The logarithm of the sum over a slice, with its gradient if that is asked for. */
  logSumExp(dtypes: WeightDtypes, withGradient: boolean): Promise<StageProgram> {
    return this.#frozen('logSumExp', logSumExpStage, dtypes, withGradient);
  }

  /** The logits of labels, with their gradient if that is asked for. */
  label(dtypes: WeightDtypes, withGradient: boolean): Promise<StageProgram> {
    return this.#frozen('logit', labelStage, dtypes, withGradient);
  }

  #frozen(
    output: string,
    stage: (plan: DecoderPlan, dtypes: WeightDtypes) => Graph,
    dtypes: WeightDtypes,
    withGradient: boolean,
  ): Promise<StageProgram> {
    return this.#cache.program(`${output} ${withGradient} ${typesOf(stageRoles.head, dtypes)}`, () => {
      const graph = stage(this.#plan, dtypes);
      return withGradient ? gradient(graph, { outputs: [output], wrt: ['h'], valueToo: [output] }) : graph;
    });
  }
}
