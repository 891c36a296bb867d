/** Rows of experts in the order of the pairs of token and expert: a matrix, or rows whose width is a matter of their expert. */
import { invariant } from '#core/contract/errors.ts';
import type { Kernels } from '#worker/kernels/index.ts';
import { busyExperts, type Dispatch } from './dispatch.ts';
import type { ArenaTensor, Workspace } from '../workspace.ts';

/** One matrix of all experts of a layer. */
export class ExpertRows {
  readonly #workspace: Workspace;
  readonly #dispatch: Dispatch;
  readonly #widthOf: (expert: number) => number;
  /** Where the rows of each expert begin, in elements. */
  readonly #starts: readonly number[];
  readonly #all: ArenaTensor;

  /** @param widthOf gives the width of an expert's rows; 0: it has none. */
  constructor(workspace: Workspace, dispatch: Dispatch, widthOf: (expert: number) => number) {
    this.#workspace = workspace;
    this.#dispatch = dispatch;
    this.#widthOf = widthOf;
    let elements = 0;
    this.#starts = Array.from({ length: dispatch.experts }, (_, expert) => {
      const start = elements;
      elements += this.#tokens(expert) * widthOf(expert);
      return start;
    });
    this.#all = workspace.tensor(elements, 1);
  }

  /** The rows of `matrix` [N, width] that the tokens of some experts have there. */
  static gathered(
    { workspace, kernels }: { readonly workspace: Workspace; readonly kernels: Kernels },
    dispatch: Dispatch,
    matrix: ArenaTensor,
    isRead: (expert: number) => boolean = () => true,
  ): ExpertRows {
    const [tokens = 0, width = 0] = matrix.shape;
    const rows = new ExpertRows(workspace, dispatch, (expert) => (isRead(expert) ? width : 0));
    const read = new Int32Array(rows.#all.data.length / width);
    let at = 0;
    for (const { expert, from, to } of busyExperts(dispatch)) {
      if (!isRead(expert)) continue;
      read.set(dispatch.tokens.subarray(from, to), at);
      at += to - from;
    }
    kernels.gatherRows(rows.#all.offset, matrix.offset, read, width, tokens);
    return rows;
  }

  #tokens(expert: number): number {
    const { offsets } = this.#dispatch;
    return (offsets[expert + 1] ?? 0) - (offsets[expert] ?? 0);
  }

  /** Those of one expert, `[its tokens, its width]`. */
  of(expert: number): ArenaTensor {
    const [rows, width] = [this.#tokens(expert), this.#widthOf(expert)];
    const start = this.#starts[expert] ?? 0;
    return { ...this.#workspace.rows(this.#all, start, start + rows * width), shape: [rows, width] };
  }

  /** Whether an expert has no rows here, however many tokens it has. */
  isEmpty(expert: number): boolean {
    return this.#widthOf(expert) === 0;
  }

  /** Those of the pairs from `from` to `to`, where all experts have one width. */
  rows(from: number, to: number): ArenaTensor {
    const width = this.#widthOf(0);
    const { experts } = this.#dispatch;
    for (let expert = 1; expert < experts; expert++)
      invariant(this.#widthOf(expert) === width, 'experts of one width');
    return { ...this.#workspace.rows(this.#all, from * width, to * width), shape: [to - from, width] };
  }
}
