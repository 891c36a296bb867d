/** The embedding look-up, forward and backward. */
import type { Kernels } from '#worker/kernels/index.ts';
import type { DecoderPlan } from '#worker/model/index.ts';
import type { MicroBatch } from './batch.ts';
import type { ParameterStore } from './weights/parameter-store.ts';
import type { ArenaTensor, Workspace } from './workspace.ts';

/** Turns token ids into hidden states. */
export class EmbeddingRunner {
  readonly #plan: DecoderPlan;
  readonly #store: ParameterStore;
  readonly #kernels: Kernels;
  readonly #workspace: Workspace;

  constructor(parts: {
    readonly plan: DecoderPlan;
    readonly store: ParameterStore;
    readonly kernels: Kernels;
    readonly workspace: Workspace;
  }) {
    this.#plan = parts.plan;
    this.#store = parts.store;
    this.#kernels = parts.kernels;
    this.#workspace = parts.workspace;
  }

  /** Hidden states [N, hidden] of the batch's tokens. */
  forward(batch: Pick<MicroBatch, 'inputIds'>): ArenaTensor {
    const kernels = this.#kernels;
    const { hiddenSize: width, embeddingScale } = this.#plan;
    const h = this.#workspace.tensor(batch.inputIds.length, width);
    this.#store.lookUp(batch.inputIds, width, h.offset);
    if (embeddingScale !== undefined) kernels.scale(h.offset, h.data.length, embeddingScale);
    return h;
  }

  /**
   * Adds the gradient of the hidden states to that of the table, if it trains. The padding row gets none, as in the
   * reference implementations.
   */
  backward(batch: MicroBatch, dH: ArenaTensor): void {
    if (!this.#store.isTrained('embedding')) return;
    const offset = this.#store.addableGradient('embedding');
    const { hiddenSize: width, paddingId, embeddingScale = 1 } = this.#plan;
    batch.inputIds.forEach((id, token) => {
      if (id === paddingId) return;
      this.#kernels.axpy(offset + id * width * 4, dH.offset + token * width * 4, embeddingScale, width);
    });
  }
}
