/** The final norm, the head and the loss: logits, cross-entropy, and its gradient, over chunks of tokens. */
import type { Kernels } from '#worker/kernels/index.ts';
import { parameterId, topK, type DecoderPlan } from '#worker/model/index.ts';
import type { DeviceTensor, TensorView, Tensors } from '#worker/runtime/index.ts';
import { lossTargets, type MicroBatch } from './batch.ts';
import type { ParameterStore } from './parameter-store.ts';
import type { StagePrograms } from './stage-programs.ts';
import { stageRoles } from './stage-roles.ts';
import type { ArenaTensor, Workspace } from './workspace.ts';

/** Elements of one chunk of logits: the head runs over as many tokens as fit. */
export const LOGIT_CHUNK = 8_000_000;

/** A sum of cross-entropies, and over how many tokens. */
export interface LossSum {
  readonly lossSum: number;
  readonly trainedTokens: number;
}

/** What a head runs on. */
interface HeadParts {
  readonly plan: DecoderPlan;
  readonly store: ParameterStore;
  readonly programs: StagePrograms;
  readonly workspace: Workspace;
  readonly kernels: Kernels;
}

/** Runs the head on hidden states `h` [N, hidden]. */
export class HeadRunner {
  readonly #parts: HeadParts;
  readonly #headId: string;

  constructor(parts: HeadParts) {
    this.#parts = parts;
    this.#headId = parts.plan.tiedHead ? 'embedding' : parameterId('head', null, null);
  }

  readonly #idOf = (role: string): string => (role === 'head' ? this.#headId : role);

  readonly #dtypes = (role: string) =>
    role === 'head' ? 'float32' : this.#parts.store.dtype(this.#idOf(role));

  /** A matrix of 16 bits is widened here, once for all chunks and without the copies a graph makes on the way. */
  #weights(): Tensors {
    const { store } = this.#parts;
    const present = stageRoles.head.map((role) => [role, this.#idOf(role)] as const);
    return Object.fromEntries(
      present
        .filter(([, id]) => store.has(id))
        .map(([role, id]) => [role, role === 'head' ? this.#wide(store.input(id)) : store.input(id)]),
    );
  }

  #wide(weight: TensorView | DeviceTensor): TensorView | DeviceTensor {
    if (!('data' in weight) || weight.dtype === 'float32') return weight;
    const { workspace, kernels } = this.#parts;
    const wide = workspace.tensor(...weight.shape);
    // Embedding and head lie in the arena, so that a view says where.
    const { byteOffset, length } = weight.data;
    if (weight.dtype === 'bfloat16') kernels.bf16ToF32(wide.offset, byteOffset, length);
    else kernels.f16ToF32(wide.offset, byteOffset, length);
    return wide;
  }

  /** Logits `[rows of `at`, vocabulary]` of the flat positions `at`. */
  async logits(h: ArenaTensor, at: Int32Array): Promise<Float32Array> {
    const { plan, programs, workspace } = this.#parts;
    const program = await programs.logits(this.#dtypes);
    const logits = new Float32Array(at.length * plan.vocabularySize);
    await this.#chunks(at, (rows, from, head) => {
      const chunk = workspace.tensor(rows.length, plan.vocabularySize);
      program.run({ h: this.#gather(h, rows), ...head }, { logits: chunk });
      logits.set(chunk.data, from * plan.vocabularySize);
    });
    return logits;
  }

  /** The likeliest token at each of the flat positions `at`. */
  async predictions(h: ArenaTensor, at: Int32Array): Promise<Int32Array> {
    const { plan, programs, workspace } = this.#parts;
    const program = await programs.logits(this.#dtypes);
    const predicted = new Int32Array(at.length);
    await this.#chunks(at, (rows, from, head) => {
      const logits = workspace.tensor(rows.length, plan.vocabularySize);
      program.run({ h: this.#gather(h, rows), ...head }, { logits });
      predicted.set(topK(logits.data, rows.length, plan.vocabularySize, 1), from);
    });
    return predicted;
  }

  /** Cross-entropy of each trained position. */
  async losses(batch: MicroBatch, h: ArenaTensor): Promise<Float32Array> {
    const { programs, workspace } = this.#parts;
    const { at, targets } = lossTargets(batch);
    const program = await programs.loss(this.#dtypes);
    const losses = new Float32Array(at.length);
    await this.#chunks(at, (rows, from, head) => {
      const loss = workspace.tensor(rows.length);
      const labels = workspace.integers(targets.subarray(from, from + rows.length), rows.length);
      program.run({ h: this.#gather(h, rows), labels, ...head }, { loss });
      losses.set(loss.data, from);
    });
    return losses;
  }

  /** Rows `at` of a hidden state. */
  async rows(h: ArenaTensor, at: Int32Array): Promise<Float32Array> {
    const { workspace } = this.#parts;
    return workspace.scratch(() => this.#gather(h, at).data.slice());
  }

  /**
   * Loss of the trained positions; fills `dH` with the gradient of their mean over `lossTokens`. Positions without a
   * target cost nothing.
   * @param weights how much each trained position counts, in the sum and in the gradient; null: all 1.
   */
  async lossBackward(
    batch: MicroBatch,
    h: ArenaTensor,
    dH: ArenaTensor,
    lossTokens: number,
    weights: Float32Array | null,
  ): Promise<LossSum> {
    const { store, plan, programs, workspace, kernels } = this.#parts;
    const width = plan.hiddenSize;
    const { at, targets } = lossTargets(batch);
    dH.data.fill(0);
    let lossSum = 0;
    await this.#chunks(at, async (rows, from, head) => {
      const use = store.weightUse(stageRoles.head, this.#idOf);
      const program = await programs.lossBackward({ ...use, dtypes: this.#dtypes });
      const gradients = store.gradientTensors(use, this.#idOf);
      const loss = workspace.tensor(rows.length);
      const dLoss = workspace.tensor(rows.length);
      for (const i of rows.keys()) dLoss.data[i] = (weights?.[from + i] ?? 1) / lossTokens;
      const dRows = workspace.tensor(rows.length, width);
      const labels = workspace.integers(targets.subarray(from, from + rows.length), rows.length);
      program.run(
        { h: this.#gather(h, rows), labels, ...head, 'd.loss': dLoss, ...gradients.feeds },
        { loss, 'grad.h': dRows, ...gradients.fetches },
      );
      kernels.addRows(dH.offset, dRows.offset, rows, width, h.shape[0] ?? 0);
      for (const [i, value] of loss.data.entries()) lossSum += value * (weights?.[from + i] ?? 1);
    });
    return { lossSum, trainedTokens: at.length };
  }

  /** Calls `work` for equal runs of positions whose logits fit in a chunk; what it allocates is taken back after each. */
  async #chunks(
    at: Int32Array,
    work: (rows: Int32Array, from: number, head: Tensors) => Promise<void> | void,
  ) {
    const { workspace } = this.#parts;
    const most = Math.max(16, Math.floor(LOGIT_CHUNK / this.#parts.plan.vocabularySize));
    const size = Math.ceil(at.length / Math.ceil(at.length / most));
    await workspace.scratch(async () => {
      const head = this.#weights();
      for (let from = 0; from < at.length; from += size)
        await workspace.scratch(async () => work(at.subarray(from, from + size), from, head));
    });
  }

  #gather(h: ArenaTensor, rows: Int32Array): ArenaTensor {
    const { plan, workspace, kernels } = this.#parts;
    const out = workspace.tensor(rows.length, plan.hiddenSize);
    kernels.gatherRows(out.offset, h.offset, rows, plan.hiddenSize, h.shape[0] ?? 0);
    return out;
  }
}
