/** The experts of a layer on the tokens sent to them, forward and backward. */
import type { MoePlan } from '#worker/model/index.ts';
import { busyExperts, gatherPairs, scatterPairs, type Dispatch } from './dispatch.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerWeights } from './layer-weights.ts';
import type { ArenaTensor } from './workspace.ts';

/** What experts keep for their backward pass; all lie in the order of the pairs. */
export interface ExpertsTrace {
  /** What gradients are weighted with. */
  readonly pairWeights: ArenaTensor;
  readonly gateProjection: ArenaTensor;
  readonly upProjection: ArenaTensor;
}

/** Runs the experts of decoder layer `index`. */
export class ExpertsRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #plan: MoePlan;
  readonly #index: number;

  constructor(parts: LayerParts, weights: LayerWeights, plan: MoePlan, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#plan = plan;
    this.#index = index;
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
  ): Promise<ExpertsTrace> {
    const { programs, workspace, kernels } = this.#parts;
    const [tokens = 0, hidden = 0] = x.shape;
    const pairs = dispatch.tokens.length;
    const pairWeightsOf = (matrix_NE: ArenaTensor): ArenaTensor => {
      const gathered = workspace.tensor(pairs, 1);
      gatherPairs(dispatch, matrix_NE.data, gathered.data);
      return gathered;
    };
    const pairWeights = pairWeightsOf(weights);
    const kept = gradientWeights === weights ? pairWeights : pairWeightsOf(gradientWeights);
    const gateProjection = workspace.tensor(pairs, this.#plan.intermediate);
    const upProjection = workspace.tensor(pairs, this.#plan.intermediate);
    await workspace.scratch(async () => {
      const sortedX = workspace.tensor(pairs, hidden);
      kernels.gatherRows(sortedX.offset, x.offset, dispatch.tokens, hidden, tokens);
      const y = workspace.tensor(pairs, hidden);
      for (const { expert, from, to } of busyExperts(dispatch)) {
        const program = await programs.expert(this.#index, this.#weights.dtypes(expert));
        const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
        program.run(
          { x: rows(sortedX), weight: rows(pairWeights), ...this.#weights.views('expert', expert) },
          { y: rows(y), gateProjection: rows(gateProjection), upProjection: rows(upProjection) },
        );
      }
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
    const { programs, workspace, kernels } = this.#parts;
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
      for (const { expert, from, to } of busyExperts(dispatch)) {
        const use = this.#weights.use('expert', expert);
        const program = await programs.expertBackward(this.#index, use);
        const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
        const gradients = this.#weights.gradients(use, expert);
        program.run(
          {
            x: rows(sortedX),
            weight: rows(trace.pairWeights),
            gateProjection: rows(trace.gateProjection),
            upProjection: rows(trace.upProjection),
            ...this.#weights.views('expert', expert),
            'd.y': rows(dY),
            ...gradients.feeds,
          },
          { 'grad.x': rows(dSortedX), 'grad.weight': rows(dPairWeights), ...gradients.fetches },
        );
      }
      kernels.addRows(dX.offset, dSortedX.offset, dispatch.tokens, hidden, tokens);
      scatterPairs(dispatch, dPairWeights.data, dWeights.data);
    });
  }
}
