/** The local expert of a layer, where it has one, forward and backward. */
import type { LocalExpertPlan, Mode } from '#worker/model/index.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ArenaTensor } from '../workspace.ts';

/** Runs the local expert of decoder layer `index`. */
export class LocalExpertRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #plan: LocalExpertPlan | undefined;
  readonly #index: number;

  constructor(parts: LayerParts, weights: LayerWeights, plan: LocalExpertPlan | undefined, index: number) {
    this.#parts = parts;
    this.#plan = plan;
    this.#weights = weights;
    this.#index = index;
  }

  /** Adds to `out` what it makes of `x`; nothing where there is none, or where the base is asked for. */
  async forward(x: ArenaTensor, out: ArenaTensor, mode: Mode): Promise<void> {
    const { programs, workspace, kernels } = this.#parts;
    if (this.#plan === undefined || mode === 'base') return;
    const plan = this.#plan;
    await workspace.scratch(async () => {
      const program = await programs.localExpert(this.#index, plan, mode);
      const y = workspace.tensor(...x.shape);
      program.run({ x, ...this.#weights.views('local') }, { y });
      kernels.axpy(out.offset, y.offset, 1, y.data.length);
    });
  }

  /** Adds the gradient of `x` to `dX`, from that of the output. */
  async backward(x: ArenaTensor, dOut: ArenaTensor, dX: ArenaTensor): Promise<void> {
    if (this.#plan === undefined) return;
    const use = this.#weights.use('local');
    const program = await this.#parts.programs.localExpertBackward(this.#index, this.#plan, use);
    const gradients = this.#weights.gradients(use);
    program.run(
      { x, ...this.#weights.views('local'), 'd.y': dOut, 'acc.grad.x': dX, ...gradients.feeds },
      { 'grad.x': dX, ...gradients.fetches },
    );
  }
}
