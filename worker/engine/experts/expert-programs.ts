/** How the experts of a layer run on their pairs of token and expert, once these are sorted. */
import type { Mode } from '#worker/model/index.ts';
import type { Dispatch } from './dispatch.ts';
import { ExpertPairs, expertsTogether, type BusyExpert } from './expert-pairs.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ExpertRows } from './expert-rows.ts';
import type { ArenaTensor } from '../workspace.ts';

/** What the experts of a layer read and keep. */
export interface ExpertTensors {
  /** [tokens, hidden]: rows are taken from it for some experts at a time, so that not all of them are there at once. */
  readonly x: ArenaTensor;
  /** [pairs, 1], in the order of the pairs, as what follows. */
  readonly weight: ArenaTensor;
  readonly gateProjection: ExpertRows;
  readonly upProjection: ExpertRows;
}

/** Where gradients go on to. */
export interface ExpertGradients {
  /** [tokens, hidden], added to. */
  readonly x: ArenaTensor;
  /** [pairs, 1] in the order of the pairs, filled. */
  readonly weight: ArenaTensor;
}

/** Runs the experts of one layer. */
export interface ExpertPrograms {
  /** Adds what the experts make of `x` to `out` [tokens, hidden], and fills the projections. */
  forward(dispatch: Dispatch, tensors: ExpertTensors, out: ArenaTensor, mode: Mode): Promise<void>;
  /**
   * Adds the gradients of the weights up from that of the output, `dOut` [tokens, hidden].
   * @param onward null: nothing that trains needs these gradients, and experts that do not train have nothing to do.
   */
  backward(
    dispatch: Dispatch,
    tensors: ExpertTensors,
    dOut: ArenaTensor,
    onward: ExpertGradients | null,
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

  async forward(dispatch: Dispatch, tensors: ExpertTensors, out: ArenaTensor, mode: Mode): Promise<void> {
    const { workspace } = this.#parts;
    const programs = this.#parts.programs.of(mode);
    const { gateProjection, upProjection } = tensors;
    for (const experts of expertsTogether(dispatch, widthOf(out))) {
      const pairs = new ExpertPairs(this.#parts, dispatch, experts);
      await workspace.scratch(async () => {
        const x = pairs.gathered(tensors.x);
        const y = workspace.tensor(...x.shape);
        for (const busy of experts) {
          const { expert, from, to } = busy;
          if (gateProjection.isEmpty(expert)) {
            pairs.of(busy, y).data.fill(0);
            continue;
          }
          const program = await programs.expert(this.#index, this.#weights.dtypes(expert));
          program.run(
            {
              x: pairs.of(busy, x),
              weight: workspace.rows(tensors.weight, from, to),
              ...this.#weights.views('expert', expert),
              ...this.#weights.masks('expert', mode, dispatch.tokens.subarray(from, to), expert),
            },
            {
              y: pairs.of(busy, y),
              gateProjection: gateProjection.of(expert),
              upProjection: upProjection.of(expert),
            },
          );
        }
        pairs.addTo(out, y);
      });
    }
  }

  async backward(
    dispatch: Dispatch,
    tensors: ExpertTensors,
    dOut: ArenaTensor,
    onward: ExpertGradients | null,
  ): Promise<void> {
    const { programs, workspace } = this.#parts;
    const { gateProjection, upProjection } = tensors;
    const trains = ({ expert }: BusyExpert) => this.#weights.use('expert', expert).trained.length > 0;
    for (const experts of expertsTogether(dispatch, widthOf(dOut))) {
      const working = onward === null ? experts.filter(trains) : experts;
      const pairs = new ExpertPairs(this.#parts, dispatch, working);
      // Only the gradient of a weight needs what the expert has read.
      const readers = new ExpertPairs(this.#parts, dispatch, experts.filter(trains));
      await workspace.scratch(async () => {
        const x = readers.gathered(tensors.x);
        const dY = pairs.gathered(dOut);
        const dX = onward && workspace.tensor(...dY.shape);
        for (const busy of working) {
          const { expert, from, to } = busy;
          const dWeight = onward && workspace.rows(onward.weight, from, to);
          if (gateProjection.isEmpty(expert)) {
            for (const gradient of dX && dWeight ? [pairs.of(busy, dX), dWeight] : []) gradient.data.fill(0);
            continue;
          }
          const use = this.#weights.use('expert', expert);
          const program = await programs.expertBackward(this.#index, use, onward !== null);
          const gradients = this.#weights.gradients(use, expert);
          program.run(
            {
              ...(trains(busy) && { x: readers.of(busy, x) }),
              weight: workspace.rows(tensors.weight, from, to),
              gateProjection: gateProjection.of(expert),
              upProjection: upProjection.of(expert),
              ...this.#weights.views('expert', expert),
              ...this.#weights.masks('expert', 'training', dispatch.tokens.subarray(from, to), expert),
              'd.y': pairs.of(busy, dY),
              ...gradients.feeds,
            },
            {
              ...(dX && dWeight && { 'grad.x': pairs.of(busy, dX), 'grad.weight': dWeight }),
              ...gradients.fetches,
            },
          );
        }
        if (onward !== null && dX !== null) pairs.addTo(onward.x, dX);
      });
    }
  }
}

function widthOf({ shape }: ArenaTensor): number {
  return shape[1] ?? 0;
}
