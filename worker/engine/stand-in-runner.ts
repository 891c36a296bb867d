/** Experts of a layer for tokens that are not sent to them, under a routing with a dense gate. */
import { tokensElsewhere, type Dispatch } from './dispatch.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerWeights } from './layer-weights.ts';
import type { ArenaTensor } from './workspace.ts';

/** Runs the stand-ins of decoder layer `index`. */
export class StandInRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;

  constructor(parts: LayerParts, weights: LayerWeights, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#index = index;
  }

  /**
   * Writes the gradient of the gate weights of pairs that were not routed into `dWeights` [N, E]; leaves the others.
   * Experts are evaluated one after the other, each on all tokens that went elsewhere.
   * @param dOut gradient of what the experts add up to.
   */
  async backward(
    { x, dispatch }: { readonly x: ArenaTensor; readonly dispatch: Dispatch },
    dOut: ArenaTensor,
    dWeights: ArenaTensor,
  ): Promise<void> {
    const { programs, workspace, kernels } = this.#parts;
    const { experts } = dispatch;
    const [tokens = 0, hidden = 0] = x.shape;
    for (let expert = 0; expert < experts; expert++) {
      const elsewhere = tokensElsewhere(dispatch, expert);
      if (elsewhere.length === 0) continue;
      await workspace.scratch(async () => {
        const program = await programs.expertWeightGradient(this.#index, this.#weights.dtypes(expert));
        const rows = (matrix: ArenaTensor): ArenaTensor => {
          const gathered = workspace.tensor(elsewhere.length, hidden);
          kernels.gatherRows(gathered.offset, matrix.offset, elsewhere, hidden, tokens);
          return gathered;
        };
        const dWeight = workspace.tensor(elsewhere.length, 1);
        program.run(
          { x: rows(x), ...this.#weights.views('expert', expert), 'd.y': rows(dOut) },
          { 'grad.weight': dWeight },
        );
        elsewhere.forEach((token, row) => {
          dWeights.data[token * experts + expert] = dWeight.data[row] as number;
        });
      });
    }
  }
}
