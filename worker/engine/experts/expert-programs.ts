/** How the experts of a layer run on their pairs of token and expert, once these are sorted. */
import type { Mode } from '#worker/model/index.ts';
import { busyExperts, type Dispatch } from './dispatch.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { Projections } from './projections.ts';
import type { ArenaTensor } from '../workspace.ts';

/** Tensors in the order of the pairs. */
export interface Pairs {
  /** [pairs, hidden]. */
  readonly x: ArenaTensor;
  /** [pairs, 1]. */
  readonly weight: ArenaTensor;
  readonly gateProjection: Projections;
  readonly upProjection: Projections;
}

/** Runs the experts of one layer. */
export interface ExpertPrograms {
  /** Fills `y` [pairs, hidden] and the projections. */
  forward(dispatch: Dispatch, pairs: Pairs, y: ArenaTensor, mode: Mode): Promise<void>;
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

  async forward(dispatch: Dispatch, pairs: Pairs, y: ArenaTensor, mode: Mode): Promise<void> {
    const { workspace } = this.#parts;
    const programs = this.#parts.programs.of(mode);
    for (const { expert, from, to } of busyExperts(dispatch)) {
      const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
      const { gateProjection, upProjection } = pairs;
      if (gateProjection.isEmpty(expert)) {
        rows(y).data.fill(0);
        continue;
      }
      const program = await programs.expert(this.#index, this.#weights.dtypes(expert));
      program.run(
        {
          x: rows(pairs.x),
          weight: rows(pairs.weight),
          ...this.#weights.views('expert', expert),
          ...this.#weights.masks('expert', mode, dispatch.tokens.subarray(from, to), expert),
        },
        { y: rows(y), gateProjection: gateProjection.of(expert), upProjection: upProjection.of(expert) },
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
      const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
      if (pairs.gateProjection.isEmpty(expert)) {
        for (const gradient of [dX, dWeight]) rows(gradient).data.fill(0);
        continue;
      }
      const use = this.#weights.use('expert', expert);
      const program = await programs.expertBackward(this.#index, use);
      const gradients = this.#weights.gradients(use, expert);
      program.run(
        {
          x: rows(pairs.x),
          weight: rows(pairs.weight),
          gateProjection: pairs.gateProjection.of(expert),
          upProjection: pairs.upProjection.of(expert),
          ...this.#weights.views('expert', expert),
          ...this.#weights.masks('expert', 'training', dispatch.tokens.subarray(from, to), expert),
          'd.y': rows(dY),
          ...gradients.feeds,
        },
        { 'grad.x': rows(dX), 'grad.weight': rows(dWeight), ...gradients.fetches },
      );
    }
  }
}
