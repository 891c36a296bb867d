/** How the experts of a layer run on their pairs of token and expert, once these are sorted. */
import type { Mode } from '#worker/model/index.ts';
import { busyExperts, type Dispatch } from './dispatch.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ExpertRows } from './expert-rows.ts';
import type { ArenaTensor } from '../workspace.ts';

/** Tensors in the order of the pairs. */
export interface Pairs {
  /** As wide as the hidden state; in a backward pass those of experts that train. */
  readonly x: ExpertRows;
  /** [pairs, 1]. */
  readonly weight: ArenaTensor;
  readonly gateProjection: ExpertRows;
  readonly upProjection: ExpertRows;
}

/** Where the gradients of the pairs go, in their order. */
export interface PairGradients {
  /** [pairs, hidden]. */
  readonly x: ArenaTensor;
  /** [pairs, 1]. */
  readonly weight: ArenaTensor;
}

/** Runs the experts of one layer. */
export interface ExpertPrograms {
  /** Fills `y` [pairs, hidden] and the projections. */
  forward(dispatch: Dispatch, pairs: Pairs, y: ArenaTensor, mode: Mode): Promise<void>;
  /**
   * Adds the gradients of the weights up from those of the pairs' outputs, as wide as the hidden state.
   * @param onward is filled with the gradients of the pairs; null: nothing that trains needs them, and experts that do not
   *   train have nothing to do.
   */
  backward(dispatch: Dispatch, pairs: Pairs, dY: ExpertRows, onward: PairGradients | null): Promise<void>;
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
          x: pairs.x.of(expert),
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
    dY: ExpertRows,
    onward: PairGradients | null,
  ): Promise<void> {
    const { programs, workspace } = this.#parts;
    for (const { expert, from, to } of busyExperts(dispatch)) {
      const rows = (matrix: ArenaTensor) => workspace.rows(matrix, from, to);
      if (pairs.gateProjection.isEmpty(expert)) {
        if (onward !== null) for (const gradient of [onward.x, onward.weight]) rows(gradient).data.fill(0);
        continue;
      }
      const use = this.#weights.use('expert', expert);
      if (onward === null && use.trained.length === 0) continue;
      const program = await programs.expertBackward(this.#index, use, onward !== null);
      const gradients = this.#weights.gradients(use, expert);
      program.run(
        {
          x: pairs.x.of(expert),
          weight: rows(pairs.weight),
          gateProjection: pairs.gateProjection.of(expert),
          upProjection: pairs.upProjection.of(expert),
          ...this.#weights.views('expert', expert),
          ...this.#weights.masks('expert', 'training', dispatch.tokens.subarray(from, to), expert),
          'd.y': dY.of(expert),
          ...gradients.feeds,
        },
        {
          ...(onward && { 'grad.x': rows(onward.x), 'grad.weight': rows(onward.weight) }),
          ...gradients.fetches,
        },
      );
    }
  }
}
