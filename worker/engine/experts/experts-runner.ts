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

  constructor(parts: LayerParts, weights: LayerWeights, plan: MoePlan, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#plan = plan;
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
    const { workspace, kernels } = this.#parts;
    const [tokens = 0, hidden = 0] = x.shape;
    const pairs = dispatch.tokens.length;
    const pairWeightsOf = (matrix_NE: ArenaTensor): ArenaTensor => {
      const gathered = workspace.tensor(pairs, 1);
      gatherPairs(dispatch, matrix_NE.data, gathered.data);
      return gathered;
    };
    const pairWeights = pairWeightsOf(weights);
    const kept = gradientWeights === weights ? pairWeights : pairWeightsOf(gradientWeights);
    const [gateProjection, upProjection] = [this.#hiddenRows(dispatch), this.#hiddenRows(dispatch)];
    await workspace.scratch(async () => {
      const y = workspace.tensor(pairs, hidden);
      const sortedX = ExpertRows.gathered(this.#parts, dispatch, x);
      const own = { x: sortedX, weight: pairWeights, gateProjection, upProjection };
      const programs = mode !== 'training' && pairs <= FEW_PAIRS ? this.#few : this.#programs;
      await programs.forward(dispatch, own, y, mode);
      kernels.addRows(out.offset, y.offset, dispatch.tokens, hidden, tokens);
    });
    return { pairWeights: kept, gateProjection, upProjection };
  }

  /** Room for hidden activations, each expert's as wide as it is. */
  #hiddenRows(dispatch: Dispatch): ExpertRows {
    return new ExpertRows(this.#parts.workspace, dispatch, (expert) => expertWidth(this.#plan, expert));
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
    const { workspace, kernels } = this.#parts;
    const { dispatch, x } = trace;
    const [tokens = 0, hidden = 0] = x.shape;
    const pairs = dispatch.tokens.length;
    const trains = (expert: number) => this.#weights.use('expert', expert).trained.length > 0;
    await workspace.scratch(async () => {
      // Only the gradient of a weight needs what the expert has read.
      const sortedX = ExpertRows.gathered(this.#parts, dispatch, x, trains);
      const dY = ExpertRows.gathered(
        this.#parts,
        dispatch,
        dOut,
        (expert) => onward !== null || trains(expert),
      );
      const { pairWeights: weight, gateProjection, upProjection } = trace;
      const own = { x: sortedX, weight, gateProjection, upProjection };
      const sorted = onward && { x: workspace.tensor(pairs, hidden), weight: workspace.tensor(pairs, 1) };
      await this.#programs.backward(dispatch, own, dY, sorted);
      if (onward === null || sorted === null) return;
      kernels.addRows(onward.dX.offset, sorted.x.offset, dispatch.tokens, hidden, tokens);
      scatterPairs(dispatch, sorted.weight.data, onward.dWeights.data);
    });
  }
}
