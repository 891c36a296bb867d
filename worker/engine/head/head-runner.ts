/** The final norm, the head and the loss: logits, cross-entropy, and its gradient, over chunks of tokens. */
import { parameterId, topK } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import { lossTargets, type MicroBatch } from '../batch.ts';
import { FrozenHead } from './frozen-head.ts';
import { LOGIT_CHUNK, equalRuns, gatherHidden, type HeadParts } from './head-parts.ts';
import { stageRoles } from '../stages/stage-roles.ts';
import type { ArenaTensor } from '../workspace.ts';

/** A sum of cross-entropies, and over how many tokens. */
export interface LossSum {
  readonly lossSum: number;
  readonly trainedTokens: number;
}

/** Runs the head on hidden states `h` [N, hidden]. */
export class HeadRunner {
  readonly #parts: HeadParts;
  readonly #headId: string;
  readonly #frozen: FrozenHead | null;

  constructor(parts: HeadParts) {
    this.#parts = parts;
    this.#headId = parts.plan.tiedHead ? 'embedding' : parameterId('head', null, null);
    this.#frozen = FrozenHead.of(parts, this.#headId);
  }

  readonly #idOf = (role: string): string => (role === 'head' ? this.#headId : role);

  readonly #dtypes = (role: string) => this.#parts.store.dtype(this.#idOf(role));

  #weights(): Tensors {
    const { store } = this.#parts;
    const present = stageRoles.head.filter((role) => store.has(this.#idOf(role)));
    const inputs = store.inputs(present.map(this.#idOf));
    return Object.fromEntries(present.map((role, at) => [role, inputs[at]])) as Tensors;
  }

  /** Logits `[rows of `at`, vocabulary]` of the flat positions `at`. */
  async logits(h: ArenaTensor, at: Int32Array): Promise<Float32Array> {
    if (this.#frozen !== null) return this.#frozen.logits(h, at);
    const { plan, programs, workspace } = this.#parts;
    const program = await programs.head.logits(this.#dtypes);
    const logits = new Float32Array(at.length * plan.vocabularySize);
    await this.#chunks(at, (rows, from, head) => {
      const chunk = workspace.tensor(rows.length, plan.vocabularySize);
      program.run({ h: gatherHidden(this.#parts, h, rows), ...head }, { logits: chunk });
      logits.set(chunk.data, from * plan.vocabularySize);
    });
    return logits;
  }

  /** The likeliest token at each of the flat positions `at`. */
  async predictions(h: ArenaTensor, at: Int32Array): Promise<Int32Array> {
    if (this.#frozen !== null) return this.#frozen.predictions(h, at);
    const { vocabularySize } = this.#parts.plan;
    const predicted = new Int32Array(at.length);
    for (const { from, to } of this.#runs(at)) {
      const logits = await this.logits(h, at.subarray(from, to));
      predicted.set(topK(logits, to - from, vocabularySize, 1), from);
    }
    return predicted;
  }

  /** Cross-entropy of each trained position. */
  async losses(batch: MicroBatch, h: ArenaTensor): Promise<Float32Array> {
    const { programs, workspace } = this.#parts;
    const { at, targets } = lossTargets(batch);
    if (this.#frozen !== null) return this.#frozen.losses(h, at, targets, null);
    const program = await programs.head.loss(this.#dtypes);
    const losses = new Float32Array(at.length);
    await this.#chunks(at, (rows, from, head) => {
      const loss = workspace.tensor(rows.length);
      const labels = workspace.integers(targets.subarray(from, from + rows.length), rows.length);
      program.run({ h: gatherHidden(this.#parts, h, rows), labels, ...head }, { loss });
      losses.set(loss.data, from);
    });
    return losses;
  }

  /** Rows `at` of a hidden state. */
  async rows(h: ArenaTensor, at: Int32Array): Promise<Float32Array> {
    const { workspace } = this.#parts;
    return workspace.scratch(() => gatherHidden(this.#parts, h, at).data.slice());
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
    if (this.#frozen !== null) {
      const frozen = this.#frozen;
      await workspace.scratch(async () => {
        const gradient = workspace.tensor(at.length, width);
        const losses = await frozen.losses(h, at, targets, gradient);
        for (const [i, value] of losses.entries()) {
          const weight = weights?.[i] ?? 1;
          lossSum += value * weight;
          kernels.scale(gradient.offset + i * width * 4, width, weight / lossTokens);
        }
        kernels.addRows(dH.offset, gradient.offset, at, width, h.shape[0] ?? 0);
      });
      return { lossSum, trainedTokens: at.length };
    }
    await this.#chunks(at, async (rows, from, head) => {
      const use = store.weightUse(stageRoles.head, this.#idOf);
      const program = await programs.head.lossBackward({ ...use, dtypes: this.#dtypes });
      const gradients = store.gradientTensors(use, this.#idOf);
      const loss = workspace.tensor(rows.length);
      const dLoss = workspace.tensor(rows.length);
      for (const i of rows.keys()) dLoss.data[i] = (weights?.[from + i] ?? 1) / lossTokens;
      const dRows = workspace.tensor(rows.length, width);
      const labels = workspace.integers(targets.subarray(from, from + rows.length), rows.length);
      program.run(
        { h: gatherHidden(this.#parts, h, rows), labels, ...head, 'd.loss': dLoss, ...gradients.feeds },
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
    const head = this.#weights();
    for (const { from, to } of this.#runs(at))
      await workspace.scratch(async () => work(at.subarray(from, to), from, head));
  }

  #runs(at: Int32Array) {
    return equalRuns(at.length, Math.max(16, Math.floor(LOGIT_CHUNK / this.#parts.plan.vocabularySize)));
  }
}
