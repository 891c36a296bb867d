/** Rows of experts in the order of the pairs of token and expert, as wide as is a matter of their expert. */
import { invariant } from '#core/contract/errors.ts';
import type { Dispatch } from './dispatch.ts';
import type { ArenaTensor, Workspace } from '../workspace.ts';

/** One matrix of all experts of a layer. */
export class ExpertRows {
  readonly #workspace: Workspace;
  readonly #dispatch: Dispatch;
  readonly #widthOf: (expert: number) => number;
  /** Where the rows of each expert begin, in elements. */
  readonly #starts: readonly number[];
  readonly #all: ArenaTensor;

  /**
   * @param widthOf gives the width of an expert's rows; 0: it has none.
   * @param isKept false: the rows of an expert lie where those of the others like it do, and are gone when one of them is run.
   */
  constructor(
    workspace: Workspace,
    dispatch: Dispatch,
    widthOf: (expert: number) => number,
    isKept: (expert: number) => boolean = () => true,
  ) {
    this.#workspace = workspace;
    this.#dispatch = dispatch;
    this.#widthOf = widthOf;
    let kept = 0;
    let passing = 0;
    const starts = Array.from({ length: dispatch.experts }, (_, expert) => {
      const elements = this.#tokens(expert) * widthOf(expert);
      if (!isKept(expert)) {
        passing = Math.max(passing, elements);
        return null;
      }
      kept += elements;
      return kept - elements;
    });
    this.#starts = starts.map((start) => start ?? kept);
    this.#all = workspace.tensor(kept + passing, 1);
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
