/** The experts of a layer on the tokens sent to them, forward and backward. */
import type { Mode, MoePlan } from '#worker/model/index.ts';
import { gatherPairs, scatterPairs, type Dispatch } from './dispatch.ts';
import { ExpertGroups } from './expert-groups.ts';
import { SingleExperts, type ExpertPrograms } from './expert-programs.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerWeights } from './layer-weights.ts';
import { Projections } from './projections.ts';
import type { ArenaTensor } from './workspace.ts';

/** What experts keep for their backward pass; all lie in the order of the pairs. */
export interface ExpertsTrace {
  /** What gradients are weighted with. */
  readonly pairWeights: ArenaTensor;
  readonly gateProjection: Projections;
  readonly upProjection: Projections;
}

/** Runs the experts of decoder layer `index`. */
export class ExpertsRunner {
  readonly #parts: LayerParts;
  readonly #plan: MoePlan;
  readonly #programs: ExpertPrograms;

  constructor(parts: LayerParts, weights: LayerWeights, plan: MoePlan, index: number) {
    this.#parts = parts;
    this.#plan = plan;
    // Rows of different widths do not lie side by side in one tensor.
    const Programs =
      parts.runtime.device === null || plan.widths !== undefined ? SingleExperts : ExpertGroups;
    this.#programs = new Programs(parts, weights, index);
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
    const gateProjection = new Projections(workspace, this.#plan, dispatch);
    const upProjection = new Projections(workspace, this.#plan, dispatch);
    await workspace.scratch(async () => {
      const sortedX = workspace.tensor(pairs, hidden);
      kernels.gatherRows(sortedX.offset, x.offset, dispatch.tokens, hidden, tokens);
      const y = workspace.tensor(pairs, hidden);
      const own = { x: sortedX, weight: pairWeights, gateProjection, upProjection };
      await this.#programs.forward(dispatch, own, y, mode);
      kernels.addRows(out.offset, y.offset, dispatch.tokens, hidden, tokens);
    });
    return { pairWeights: kept, gateProjection, upProjection };
  }

  /** From the gradient of the output, `dOut`: adds that of the input to `dX`, and writes that of the gate weights. */
  async backward(
    trace: ExpertsTrace & { readonly x: ArenaTensor; readonly dispatch: Dispatch },
    dOut: ArenaTensor,
    dX: ArenaTensor,
    dWeights: ArenaTensor,
  ): Promise<void> {
    const { workspace, kernels } = this.#parts;
    const { dispatch, x } = trace;
    const [tokens = 0, hidden = 0] = x.shape;
    const pairs = dispatch.tokens.length;
    await workspace.scratch(async () => {
      const sortedX = workspace.tensor(pairs, hidden);
      kernels.gatherRows(sortedX.offset, x.offset, dispatch.tokens, hidden, tokens);
      const dY = workspace.tensor(pairs, hidden);
      kernels.gatherRows(dY.offset, dOut.offset, dispatch.tokens, hidden, tokens);
      const dSortedX = workspace.tensor(pairs, hidden);
      const dPairWeights = workspace.tensor(pairs, 1);
      const { pairWeights: weight, gateProjection, upProjection } = trace;
      const own = { x: sortedX, weight, gateProjection, upProjection };
      await this.#programs.backward(dispatch, own, dY, dSortedX, dPairWeights);
      kernels.addRows(dX.offset, dSortedX.offset, dispatch.tokens, hidden, tokens);
      scatterPairs(dispatch, dPairWeights.data, dWeights.data);
    });
  }
}
