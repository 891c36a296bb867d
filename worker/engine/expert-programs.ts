/** How the experts of a layer run on their pairs of token and expert, once these are sorted. */
import { busyExperts, type Dispatch } from './dispatch.ts';
import type { LayerParts } from './layer-parts.ts';
import type { LayerWeights } from './layer-weights.ts';
import type { ArenaTensor } from './workspace.ts';

/** Tensors in the order of the pairs. */
export interface Pairs {
  /** [pairs, hidden]. */
  readonly x: ArenaTensor;
  /** [pairs, 1]. */
  readonly weight: ArenaTensor;
  /** [pairs, intermediate], as is `upProjection`. */
  readonly gateProjection: ArenaTensor;
  readonly upProjection: ArenaTensor;
}

/** Runs the experts of one layer. */
export interface ExpertPrograms {
  /** Fills `y` [pairs, hidden] and the projections. */
  forward(dispatch: Dispatch, pairs: Pairs, y: ArenaTensor): Promise<void>;
  /** Fills the gradients of the pairs' `x` and `weight` from that of their outputs, and adds those of the weights up. */
  backward(
    dispatch: Dispatch,
    pairs: Pairs,
    dY: ArenaTensor,
    dX: ArenaTensor,
    dWeight: ArenaTensor,
  ): Promise<void>;
}

/** One expert after the other: those without tokens cost nothing. */
export class SingleExperts implements ExpertPrograms {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;

  constructor(parts: LayerParts, weights: LayerWeights, index: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#index = index;
  }

  async forward(dispatch: Dispatch, pairs: Pairs, y: ArenaTensor): Promise<void> {
    const { programs, workspace } = this.#parts;
    for (const { expert, from, to } of busyExperts(dispatch)) {
      const program = await programs.expert(this.#index, this.#weights.dtypes(expert));
      const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
      const { gateProjection, upProjection } = pairs;
      program.run(
        { x: rows(pairs.x), weight: rows(pairs.weight), ...this.#weights.views('expert', expert) },
        { y: rows(y), gateProjection: rows(gateProjection), upProjection: rows(upProjection) },
      );
    }
  }

  async backward(
    dispatch: Dispatch,
    pairs: Pairs,
    dY: ArenaTensor,
    dX: ArenaTensor,
    dWeight: ArenaTensor,
  ): Promise<void> {
    const { programs, workspace } = this.#parts;
    for (const { expert, from, to } of busyExperts(dispatch)) {
      const use = this.#weights.use('expert', expert);
      const program = await programs.expertBackward(this.#index, use);
      const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
      const gradients = this.#weights.gradients(use, expert);
      program.run(
        {
          x: rows(pairs.x),
          weight: rows(pairs.weight),
          gateProjection: rows(pairs.gateProjection),
          upProjection: rows(pairs.upProjection),
          ...this.#weights.views('expert', expert),
          'd.y': rows(dY),
          ...gradients.feeds,
        },
        { 'grad.x': rows(dX), 'grad.weight': rows(dWeight), ...gradients.fetches },
      );
    }
  }
}
