/** Rows of a layer's tokens in the order of pairs of token and expert, for some experts at a time. */
import type { LayerParts } from '../layer-parts.ts';
import type { ArenaTensor } from '../workspace.ts';
import { busyExperts, type Dispatch } from './dispatch.ts';

/**
 * Elements of the rows that are taken at a time: more take memory; with less a program waits for its rows before each expert, and ONNX
 * Runtime's threads fall asleep.
 */
export const ROWS_TOGETHER = 4_000_000;

/** An expert, and its range of pairs. */
export interface BusyExpert {
  readonly expert: number;
  readonly from: number;
  readonly to: number;
}

/** Experts with tokens, one after the other, as many together as have `ROWS_TOGETHER` in rows of `width`, but at least one. */
export function* expertsTogether(dispatch: Dispatch, width: number): Generator<readonly BusyExpert[]> {
  let together: BusyExpert[] = [];
  for (const busy of busyExperts(dispatch)) {
    const from = together[0]?.from ?? busy.from;
    if (together.length > 0 && (busy.to - from) * width > ROWS_TOGETHER) {
      yield together;
      together = [];
    }
    together.push(busy);
  }
  if (together.length > 0) yield together;
}

/** The pairs of some experts, one expert after the other. */
export class ExpertPairs {
  /** The token of each pair. */
  readonly tokens: Int32Array;
  readonly #starts = new Map<number, number>();
  readonly #parts: Pick<LayerParts, 'workspace' | 'kernels'>;

  constructor(
    parts: Pick<LayerParts, 'workspace' | 'kernels'>,
    dispatch: Dispatch,
    experts: readonly BusyExpert[],
  ) {
    this.#parts = parts;
    this.tokens = new Int32Array(experts.reduce((sum, { from, to }) => sum + to - from, 0));
    let start = 0;
    for (const { expert, from, to } of experts) {
      this.#starts.set(expert, start);
      this.tokens.set(dispatch.tokens.subarray(from, to), start);
      start += to - from;
    }
  }

  /** The rows of `matrix` [tokens, width] that the pairs have there: [pairs, width]. */
  gathered(matrix: ArenaTensor): ArenaTensor {
    const { workspace, kernels } = this.#parts;
    const [rows = 0, width = 0] = matrix.shape;
    const out = workspace.tensor(this.tokens.length, width);
    kernels.gatherRows(out.offset, matrix.offset, this.tokens, width, rows);
    return out;
  }

  /** Adds `rows` [pairs, width] to those of `matrix` [tokens, width]. */
  addTo(matrix: ArenaTensor, rows: ArenaTensor): void {
    const [count = 0, width = 0] = matrix.shape;
    this.#parts.kernels.addRows(matrix.offset, rows.offset, this.tokens, width, count);
  }

  /** What one of the experts has of `rows` [pairs, width]. */
  of({ expert, from, to }: BusyExpert, rows: ArenaTensor): ArenaTensor {
    const start = this.#starts.get(expert) ?? NaN;
    return this.#parts.workspace.rows(rows, start, start + to - from);
  }
}
