/** The feed-forward half of a dense layer, forward and backward. */
import type { DensePlan, Mode } from '#worker/model/index.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerWeights } from './weights/layer-weights.ts';
import type { ArenaTensor } from './workspace.ts';

/** What a dense layer keeps for its backward pass. */
export interface DenseTrace {
  readonly kind: 'dense';
  readonly h: ArenaTensor;
  readonly gateProjection: ArenaTensor;
  readonly upProjection: ArenaTensor;
  readonly out: ArenaTensor;
}

/** Runs the dense feed-forward of decoder layer `index`. */
export class DenseRunner {
  readonly kind = 'dense';
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #plan: DensePlan;
  readonly #index: number;

  constructor(parts: LayerParts, weights: LayerWeights, plan: DensePlan, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#plan = plan;
    this.#index = index;
  }

  /** Hidden state `h` [N, hidden] through the MLP. @param base what it is added to; ids change nothing here. */
  async forward(h: ArenaTensor, _ids: Int32Array, mode: Mode, base?: ArenaTensor): Promise<DenseTrace> {
    const { programs, workspace } = this.#parts;
    const [tokens = 0, hidden = 0] = h.shape;
    const gateProjection = workspace.tensor(tokens, this.#plan.intermediate);
    const upProjection = workspace.tensor(tokens, this.#plan.intermediate);
    const out = workspace.tensor(tokens, hidden);
    const program = await programs.of(mode).dense(this.#index, this.#weights.dtypes());
    program.run(
      {
        h,
        ...(base && { base }),
        ...this.#weights.views('dense'),
        ...this.#weights.masks('dense', mode, tokens),
      },
      { out, gateProjection, upProjection },
    );
    return { kind: 'dense', h, gateProjection, upProjection, out };
  }

  /** Turns the gradient of the output in `dOut` into that of `h`, in place or in `dInput`. */
  async backward(trace: DenseTrace, dOut: ArenaTensor, dInput = dOut): Promise<void> {
    const { programs, workspace } = this.#parts;
    const use = this.#weights.use('dense');
    const program = await programs.denseBackward(this.#index, use);
    const gradients = this.#weights.gradients(use);
    const mark = workspace.arena.mark();
    const dH = workspace.tensor(...trace.h.shape);
    const { h, gateProjection, upProjection } = trace;
    program.run(
      {
        h,
        gateProjection,
        upProjection,
        ...this.#weights.views('dense'),
        ...this.#weights.masks('dense', 'training', h.shape[0] ?? 0),
        'd.out': dOut,
        ...gradients.feeds,
      },
      { 'grad.h': dH, ...gradients.fetches },
    );
    dInput.data.set(dH.data);
    workspace.arena.release(mark);
  }
}
