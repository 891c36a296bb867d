/**
 * A head of 16 bits of which nothing trains, in slices of the vocabulary: each is widened, used and forgotten, since the whole in
 * float32 may be larger than all activations.
 */
import { topK } from '#worker/model/index.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import { LOGIT_CHUNK, equalRuns, gatherHidden, type HeadParts } from './head-parts.ts';
import { stageRoles } from '../stages/stage-roles.ts';
import { widen, type HalfDtype } from '../weights/widen.ts';
import type { ArenaTensor } from '../workspace.ts';

/** Elements of one slice in float32. */
export const HEAD_SLICE = 8_000_000;

/** A part of the vocabulary. */
interface Slice {
  readonly from: number;
  readonly to: number;
}

/** Runs a frozen head of 16 bits on hidden states `h` [N, hidden]. */
export class FrozenHead {
  readonly #parts: HeadParts;
  readonly #head: TensorView & { readonly dtype: HalfDtype };
  /** Norm and bias. */
  readonly #others: Readonly<Record<string, TensorView>>;
  readonly #sliceElements: number;

  private constructor(parts: HeadParts, headId: string, sliceElements: number) {
    const { store } = parts;
    this.#parts = parts;
    this.#sliceElements = sliceElements;
    this.#head = store.weight(headId) as TensorView & { readonly dtype: HalfDtype };
    const others = stageRoles.head.filter((role) => role !== 'head' && store.has(role));
    this.#others = Object.fromEntries(others.map((role) => [role, store.weight(role)]));
  }

  /** Null where the head is another one: one that trains, even in its norm only, has float32, or is on a graphics adapter. */
  static of(parts: HeadParts, headId: string, sliceElements = HEAD_SLICE): FrozenHead | null {
    const { store } = parts;
    const trains = stageRoles.head.some((role) => store.isTrained(role === 'head' ? headId : role));
    const isNarrow = store.device === null && store.dtype(headId) !== 'float32';
    return isNarrow && !trains ? new FrozenHead(parts, headId, sliceElements) : null;
  }

  readonly #dtypes = (role: string) => (role === 'head' ? 'float32' : this.#parts.store.dtype(role));

  /** Logits `[rows of `at`, vocabulary]` of the flat positions `at`. */
  async logits(h: ArenaTensor, at: Int32Array): Promise<Float32Array> {
    const { plan, programs, workspace } = this.#parts;
    const program = await programs.head.sliceLogits(this.#dtypes);
    const logits = new Float32Array(at.length * plan.vocabularySize);
    await this.#slices(at, (rows, first, slice, weights) => {
      const width = slice.to - slice.from;
      const chunk = workspace.tensor(rows.length, width);
      program.run({ h: gatherHidden(this.#parts, h, rows), ...weights }, { logits: chunk });
      for (const row of rows.keys()) {
        const own = chunk.data.subarray(row * width, (row + 1) * width);
        logits.set(own, (first + row) * plan.vocabularySize + slice.from);
      }
    });
    return logits;
  }

  /** The likeliest token at each of the flat positions `at`, the lower id of equals. */
  async predictions(h: ArenaTensor, at: Int32Array): Promise<Int32Array> {
    const { programs, workspace } = this.#parts;
    const program = await programs.head.sliceLogits(this.#dtypes);
    const predicted = new Int32Array(at.length);
    const largest = new Float32Array(at.length).fill(-Infinity);
    await this.#slices(at, (rows, first, slice, weights) => {
      const width = slice.to - slice.from;
      const logits = workspace.tensor(rows.length, width);
      program.run({ h: gatherHidden(this.#parts, h, rows), ...weights }, { logits });
      for (const [row, id] of topK(logits.data, rows.length, width, 1).entries()) {
        const logit = logits.data[row * width + id] as number;
        if (logit <= (largest[first + row] as number)) continue;
        largest[first + row] = logit;
        predicted[first + row] = slice.from + id;
      }
    });
    return predicted;
  }

  /**
   * Cross-entropy of each of the flat positions `at`.
   * @param gradient [rows of `at`, hidden] receives that of each position's own cross-entropy; null: it is not wanted.
   */
  async losses(
    h: ArenaTensor,
    at: Int32Array,
    targets: Int32Array,
    gradient: ArenaTensor | null,
  ): Promise<Float32Array> {
    const sums = await this.#logSumExp(h, at, gradient);
    const { plan, programs, workspace, kernels, store } = this.#parts;
    const width = plan.hiddenSize;
    const program = await programs.head.label(this.#dtypes, gradient !== null);
    const bias_V = plan.headBias ? store.values('headBias') : null;
    const losses = new Float32Array(at.length);
    for (const { from, to } of equalRuns(at.length, Math.max(1, Math.floor(LOGIT_CHUNK / width)))) {
      await workspace.scratch(() => {
        const labels = targets.subarray(from, to);
        const logit = workspace.tensor(labels.length);
        const own = gradient && workspace.tensor(labels.length, width);
        program.run(
          {
            ...this.#others,
            h: gatherHidden(this.#parts, h, at.subarray(from, to)),
            label: this.#rows(labels),
            ...(bias_V && { labelBias: column(Float32Array.from(labels, (label) => bias_V[label] ?? NaN)) }),
            'd.logit': column(new Float32Array(labels.length).fill(-1)),
          },
          { logit, ...(own && { 'grad.h': own }) },
        );
        for (const [row, value] of logit.data.entries())
          losses[from + row] = (sums[from + row] as number) - value;
        if (gradient && own) kernels.axpy(gradient.offset + from * width * 4, own.offset, 1, own.data.length);
      });
    }
    return losses;
  }

  /**
   * The logarithm of the sum of each position, slice after slice: what was summed so far, and its gradient, count with their
   * share of the new sum. So a slice is widened once, and its logits are forgotten at once.
   */
  async #logSumExp(h: ArenaTensor, at: Int32Array, gradient: ArenaTensor | null): Promise<Float64Array> {
    const { plan, programs, workspace, kernels } = this.#parts;
    const width = plan.hiddenSize;
    const program = await programs.head.logSumExp(this.#dtypes, gradient !== null);
    const sums = new Float64Array(at.length).fill(-Infinity);
    gradient?.data.fill(0);
    await this.#slices(at, (rows, first, _slice, weights) => {
      const sum = workspace.tensor(rows.length);
      const own = gradient && workspace.tensor(rows.length, width);
      program.run(
        {
          h: gatherHidden(this.#parts, h, rows),
          ...weights,
          'd.logSumExp': column(new Float32Array(rows.length).fill(1)),
        },
        { logSumExp: sum, ...(own && { 'grad.h': own }) },
      );
      for (const [row, more] of sum.data.entries()) {
        const before = sums[first + row] as number;
        const largest = Math.max(before, more);
        const after = largest + Math.log(Math.exp(before - largest) + Math.exp(more - largest));
        sums[first + row] = after;
        if (gradient === null || own === null) continue;
        const target = gradient.offset + (first + row) * width * 4;
        kernels.scale(target, width, Math.exp(before - after));
        kernels.axpy(target, own.offset + row * width * 4, Math.exp(more - after), width);
      }
    });
    return sums;
  }

  /** Calls `work` for each slice and equal runs of positions whose logits fit in a chunk; what it allocates is taken back after each. */
  async #slices(
    at: Int32Array,
    work: (rows: Int32Array, first: number, slice: Slice, weights: Tensors) => void,
  ): Promise<void> {
    if (at.length === 0) return;
    const { plan, workspace, store } = this.#parts;
    const { headBias } = this.#others;
    const most = Math.max(1, Math.floor(this.#sliceElements / plan.hiddenSize));
    for (const slice of equalRuns(plan.vocabularySize, most)) {
      await workspace.scratch(async () => {
        const size = slice.to - slice.from;
        const head =
          4 * size * plan.hiddenSize <= store.roomBetweenLayers.bytes
            ? workspace.at(store.roomBetweenLayers, size, plan.hiddenSize)
            : workspace.tensor(size, plan.hiddenSize);
        this.#widen(head.offset, slice.from, size);
        const weights = {
          ...this.#others,
          head,
          ...(headBias && {
            headBias: { ...headBias, shape: [size], data: headBias.data.subarray(slice.from, slice.to) },
          }),
        };
        for (const { from, to } of equalRuns(at.length, Math.max(16, Math.floor(LOGIT_CHUNK / size))))
          await workspace.scratch(() => work(at.subarray(from, to), from, slice, weights));
      });
    }
  }

  /** The rows of some tokens. */
  #rows(tokens: Int32Array): ArenaTensor {
    const { plan, workspace } = this.#parts;
    const rows = workspace.tensor(tokens.length, plan.hiddenSize);
    for (const [row, token] of tokens.entries())
      this.#widen(rows.offset + row * plan.hiddenSize * 4, token, 1);
    return rows;
  }

  /** Widens `count` rows from row `from` to where `target` says. */
  #widen(target: number, from: number, count: number): void {
    const { kernels, plan } = this.#parts;
    // Embedding and head lie in the arena, so that a view says where.
    const source = this.#head.data.byteOffset + from * plan.hiddenSize * 2;
    widen(kernels, this.#head.dtype, target, source, count * plan.hiddenSize);
  }
}

function column(data: Float32Array): TensorView {
  return { dtype: 'float32', shape: [data.length], data };
}
