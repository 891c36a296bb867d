/** Hidden activations of experts in the order of the pairs of token and expert: a matrix, or rows that grow with their expert. */
import { invariant } from '#core/contract/errors.ts';
import { expertWidth, type MoePlan } from '#worker/model/index.ts';
import type { Dispatch } from './dispatch.ts';
import type { ArenaTensor, Workspace } from '../workspace.ts';

/** One projection of all experts of a layer. */
export class Projections {
  readonly #workspace: Workspace;
  readonly #plan: MoePlan;
  readonly #offsets: Dispatch['offsets'];
  /** Where the rows of each expert begin, in elements. */
  readonly #starts: readonly number[];
  readonly #all: ArenaTensor;

  constructor(workspace: Workspace, plan: MoePlan, { offsets, experts }: Dispatch) {
    this.#workspace = workspace;
    this.#plan = plan;
    this.#offsets = offsets;
    let elements = 0;
    this.#starts = Array.from({ length: experts }, (_, expert) => {
      const start = elements;
      elements += this.#rows(expert) * expertWidth(plan, expert);
      return start;
    });
    this.#all = workspace.tensor(elements, 1);
  }

  #rows(expert: number): number {
    return (this.#offsets[expert + 1] ?? 0) - (this.#offsets[expert] ?? 0);
  }

  /** Those of one expert, `[its tokens, its width]`. */
  of(expert: number): ArenaTensor {
    const [rows, width] = [this.#rows(expert), expertWidth(this.#plan, expert)];
    const start = this.#starts[expert] ?? 0;
    return { ...this.#workspace.rows(this.#all, start, start + rows * width), shape: [rows, width] };
  }

  /** Whether an expert has no width: it gives nothing. */
  isEmpty(expert: number): boolean {
    return expertWidth(this.#plan, expert) === 0;
  }

  /** Those of the pairs from `from` to `to`, where all experts have one width. */
  rows(from: number, to: number): ArenaTensor {
    const { intermediate: width, widths } = this.#plan;
    invariant(widths === undefined, 'experts of one width');
    return { ...this.#workspace.rows(this.#all, from * width, to * width), shape: [to - from, width] };
  }
}
