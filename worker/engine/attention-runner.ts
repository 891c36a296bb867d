/** The attention half of a layer, forward and backward. */
import { attentionSaved } from '#worker/model/index.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerWeights } from './layer-weights.ts';
import type { ArenaTensor } from './workspace.ts';

/** What attention reads beside the hidden state. Tables are absent where positions do not enter. */
export interface AttentionInputs {
  readonly positions: TensorView;
  readonly mask: TensorView;
  readonly cos?: TensorView;
  readonly sin?: TensorView;
}

/** What attention keeps for its backward pass. */
export interface AttentionTrace {
  readonly h: ArenaTensor;
  readonly saved: Tensors;
  readonly out: ArenaTensor;
}

/** Runs the attention of decoder layer `index`. */
export class AttentionRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;
  readonly #saved: readonly (readonly [name: string, width: number])[];

  constructor(parts: LayerParts, weights: LayerWeights, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#index = index;
    const layer = parts.plan.layers[index];
    this.#saved = layer === undefined ? [] : Object.entries(attentionSaved(layer.attention));
  }

  /** Hidden state `h` [N, hidden] through the attention. */
  async forward(h: ArenaTensor, inputs: AttentionInputs): Promise<AttentionTrace> {
    const { programs, workspace } = this.#parts;
    const [tokens = 0, hidden = 0] = h.shape;
    const saved = Object.fromEntries(
      this.#saved.map(([name, width]) => [name, workspace.tensor(tokens, width)]),
    );
    const out = workspace.tensor(tokens, hidden);
    const program = await programs.attention(this.#index, this.#weights.dtypes());
    program.run({ ...inputs, h, ...this.#weights.views('attention') }, { ...saved, out });
    return { h, saved, out };
  }

  /** From the gradient of the output, `dOut`, to that of the input, `dIn`. */
  async backward(
    trace: AttentionTrace,
    inputs: AttentionInputs,
    dOut: ArenaTensor,
    dIn: ArenaTensor,
  ): Promise<void> {
    const use = this.#weights.use('attention');
    const program = await this.#parts.programs.attentionBackward(this.#index, use);
    const gradients = this.#weights.gradients(use);
    program.run(
      {
        ...inputs,
        h: trace.h,
        ...trace.saved,
        ...this.#weights.views('attention'),
        'd.out': dOut,
        ...gradients.feeds,
      },
      { 'grad.h': dIn, ...gradients.fetches },
    );
  }
}
