/** What stands for experts of a layer on tokens that are not sent to them, under a routing with a dense gate. */
import { expertWidth, type Mode, type MoePlan, type StandIn } from '#worker/model/index.ts';
import type { Tensors } from '#worker/runtime/index.ts';
import { busyExperts, tokensElsewhere, type Dispatch } from './dispatch.ts';
import type { ExpertsTrace } from './experts-runner.ts';
import type { LayerParts } from '../layer-parts.ts';
import type { LayerWeights } from '../weights/layer-weights.ts';
import type { ArenaTensor } from '../workspace.ts';

/** What the backward pass of stand-ins reads. */
interface Routed {
  readonly x: ArenaTensor;
  readonly denseWeights: ArenaTensor;
  readonly dispatch: Dispatch;
}

type Vectors = Extract<StandIn, { kind: 'vector' }>;

/** Runs the stand-ins of decoder layer `index`, which is MoE layer `moeIndex`. */
export class StandInRunner {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #plan: MoePlan;
  readonly #index: number;
  readonly #moeIndex: number;

  constructor(parts: LayerParts, weights: LayerWeights, plan: MoePlan, index: number, moeIndex: number) {
    this.#parts = parts;
    this.#weights = weights;
    this.#plan = plan;
    this.#index = index;
    this.#moeIndex = moeIndex;
  }

  /**
   * Adds to `out` the stand-ins that are part of the value.
   * @returns in training with vectors: the mean output of each expert [E, hidden].
   */
  async forward(
    standIn: StandIn,
    routed: Routed & ExpertsTrace,
    out: ArenaTensor,
    mode: Mode,
  ): Promise<ArenaTensor | null> {
    if (standIn.kind === 'output') return null;
    const { programs, workspace, kernels } = this.#parts;
    if (standIn.inValue) {
      await workspace.scratch(async () => {
        const y = workspace.tensor(...out.shape);
        const program = await programs.standIn(this.#index);
        program.run(this.#inputs(standIn, routed), { y });
        kernels.axpy(out.offset, y.offset, 1, y.data.length);
      });
    }
    return mode === 'training' ? this.#meanOutput(routed) : null;
  }

  /** Writes the gradient of the gate weights of pairs that were not routed into `dWeights` [N, E]; leaves the others. */
  async backward(standIn: StandIn, routed: Routed, dOut: ArenaTensor, dWeights: ArenaTensor): Promise<void> {
    if (standIn.kind === 'output') {
      for (let expert = 0; expert < this.#plan.experts; expert++)
        await this.#outputBackward(expert, routed, dOut, dWeights);
      return;
    }
    const program = await this.#parts.programs.standInBackward(this.#index);
    program.run(
      { ...this.#inputs(standIn, routed), 'd.y': dOut, 'acc.grad.denseWeights': dWeights },
      { 'grad.denseWeights': dWeights },
    );
  }

  #inputs(standIn: Vectors, { x, denseWeights, dispatch }: Routed): Tensors {
    const [, hidden = 0] = x.shape;
    return {
      denseWeights,
      multiplicity: { ...denseWeights, data: dispatch.multiplicity_NE },
      vectors: {
        dtype: 'float32',
        shape: [this.#plan.experts, hidden],
        data: standIn.vectors_EH(this.#moeIndex),
      },
    };
  }

  async #meanOutput({
    x,
    dispatch,
    gateProjection,
    upProjection,
  }: Routed & ExpertsTrace): Promise<ArenaTensor> {
    const { programs, workspace } = this.#parts;
    const [, hidden = 0] = x.shape;
    const mean = workspace.zeros(this.#plan.experts, hidden);
    for (const { expert } of busyExperts(dispatch)) {
      if (gateProjection.isEmpty(expert)) continue;
      const program = await programs.of('inference').meanOutput(this.#index, this.#weights.dtypes(expert));
      program.run(
        {
          gateProjection: gateProjection.of(expert),
          upProjection: upProjection.of(expert),
          ...this.#weights.views('expert', expert),
        },
        { mean: workspace.rows(mean, expert, expert + 1) },
      );
    }
    return mean;
  }

  /** Evaluates one expert on all tokens that went elsewhere. */
  async #outputBackward(
    expert: number,
    { x, dispatch }: Routed,
    dOut: ArenaTensor,
    dWeights: ArenaTensor,
  ): Promise<void> {
    const elsewhere = tokensElsewhere(dispatch, expert);
    if (elsewhere.length === 0 || expertWidth(this.#plan, expert) === 0) return;
    const { programs, workspace, kernels } = this.#parts;
    const [tokens = 0, hidden = 0] = x.shape;
    await workspace.scratch(async () => {
      const program = await programs.expertWeightGradient(this.#index, this.#weights.dtypes(expert));
      const rows = (matrix: ArenaTensor): ArenaTensor => {
        const gathered = workspace.tensor(elsewhere.length, hidden);
        kernels.gatherRows(gathered.offset, matrix.offset, elsewhere, hidden, tokens);
        return gathered;
      };
      const dWeight = workspace.tensor(elsewhere.length, 1);
      program.run(
        {
          x: rows(x),
          ...this.#weights.views('expert', expert),
          ...this.#weights.masks('expert', 'training', elsewhere, expert),
          'd.y': rows(dOut),
        },
        { 'grad.weight': dWeight },
      );
      elsewhere.forEach((token, row) => {
        dWeights.data[token * this.#plan.experts + expert] = dWeight.data[row] as number;
      });
    });
  }
}
