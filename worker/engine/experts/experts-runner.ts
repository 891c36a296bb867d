/** The experts of a layer on the tokens sent to them, forward and backward. */
import { expertWidth, type Mode, type MoePlan } from '#worker/model/index.ts';
import { gatherPairs, scatterPairs, type Dispatch } from './dispatch.ts';
import { ExpertGroups, type Grouping } from './expert-groups.ts';
import { SingleExperts, type ExpertPrograms } from './expert-programs.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import { ExpertRows } from './expert-rows.ts';
import type { ArenaTensor } from '../workspace.ts';

/** What experts keep for their backward pass; all lie in the order of the pairs. */
export interface ExpertsTrace {
  /** What gradients are weighted with. */
  readonly pairWeights: ArenaTensor;
  readonly gateProjection: ExpertRows;
  readonly upProjection: ExpertRows;
}

/**
 * Up to so many pairs of token and expert, as in generation, experts of the CPU run several to a program too: what a run costs
 * before it computes, 40 to 60 µs, is then a good part of it.
 */
const FEW_PAIRS = 128;

/** Experts of one program on a GPU. */
export const EXPERTS_AT_ONCE = 16;

/** On a GPU all experts of a layer, since each run waits; on the CPU those that have tokens. */
const ALL: Grouping = { size: EXPERTS_AT_ONCE, idle: true };
const BUSY: Grouping = { size: 8, idle: false };

/** Runs the experts of decoder layer `index`. */
export class ExpertsRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #plan: MoePlan;
  readonly #programs: ExpertPrograms;
  /** Forward of few pairs. */
  readonly #few: ExpertPrograms;
  /** Gradients end here, and nothing but the backward pass of experts that train reads their projections. */
  readonly #isEnd: boolean;

  /** @param isEnd gradients end at what the experts read. */
  constructor(parts: LayerParts, weights: LayerWeights, plan: MoePlan, index: number, isEnd: boolean) {
    this.#parts = parts;
    this.#weights = weights;
    this.#plan = plan;
    this.#isEnd = isEnd && parts.runtime.device === null && parts.session.routing.dense === undefined;
    const single = new SingleExperts(parts, weights, index);
    const grouped = (grouping: Grouping) =>
      // Rows of different widths do not lie side by side in one tensor.
      plan.widths === undefined ? new ExpertGroups(parts, weights, index, grouping) : single;
    this.#programs = parts.runtime.device === null ? single : grouped(ALL);
    // One at a time: several of a program cannot be there together.
    const shareOnePlace = parts.store.parameters.some(
      ({ id, layer, expert }) => layer === index && expert !== null && parts.store.isPassing(id),
    );
    this.#few = parts.runtime.device === null && !shareOnePlace ? grouped(BUSY) : this.#programs;
  }

  /**
   * Adds to `out` what the experts make of `x`, weighted by `weights` [N, E].
   * @param gradientWeights what the backward pass weighs them with.
   */
  async forward(
    x: ArenaTensor,
    weights: ArenaTensor,
    gradientWeights: ArenaTensor,
    dispatch: Dispatch,
    out: ArenaTensor,
    mode: Mode,
  ): Promise<ExpertsTrace> {
    const { workspace } = this.#parts;
    const pairs = dispatch.tokens.length;
    const pairWeightsOf = (matrix_NE: ArenaTensor): ArenaTensor => {
      const gathered = workspace.tensor(pairs, 1);
      gatherPairs(dispatch, matrix_NE.data, gathered.data);
      return gathered;
    };
    const pairWeights = pairWeightsOf(weights);
    const kept = gradientWeights === weights ? pairWeights : pairWeightsOf(gradientWeights);
    const [gateProjection, upProjection] = [
      this.#hiddenRows(dispatch, mode),
      this.#hiddenRows(dispatch, mode),
    ];
    const programs = mode !== 'training' && pairs <= FEW_PAIRS ? this.#few : this.#programs;
    await programs.forward(dispatch, { x, weight: pairWeights, gateProjection, upProjection }, out, mode);
    return { pairWeights: kept, gateProjection, upProjection };
  }

  /** Room for hidden activations, each expert's as wide as it is. */
  #hiddenRows(dispatch: Dispatch, mode: Mode): ExpertRows {
    const isKept = (expert: number) =>
      mode !== 'training' || !this.#isEnd || this.#weights.use('expert', expert).trained.length > 0;
    return new ExpertRows(
      this.#parts.workspace,
      dispatch,
      (expert) => expertWidth(this.#plan, expert),
      isKept,
    );
  }

  /**
   * From the gradient of the output, `dOut`: adds those of the weights up.
   * @param onward where that of the input is added to, and that of the gate weights written; null: nothing that trains needs them.
   */
  async backward(
    trace: ExpertsTrace & { readonly x: ArenaTensor; readonly dispatch: Dispatch },
    dOut: ArenaTensor,
    onward: { readonly dX: ArenaTensor; readonly dWeights: ArenaTensor } | null,
  ): Promise<void> {
    const { workspace } = this.#parts;
    const { dispatch, x, pairWeights: weight, gateProjection, upProjection } = trace;
    await workspace.scratch(async () => {
      const dWeight = onward && workspace.tensor(dispatch.tokens.length, 1);
      const tensors = { x, weight, gateProjection, upProjection };
      const gradients = onward && dWeight && { x: onward.dX, weight: dWeight };
      await this.#programs.backward(dispatch, tensors, dOut, gradients);
      if (onward !== null && dWeight !== null) scatterPairs(dispatch, dWeight.data, onward.dWeights.data);
    });
  }
}
