/** What experts of a layer make of tokens, whether those were sent to them or not: for statistics. */
import { expertWidth, type MoePlan } from '#worker/model/index.ts';
import type { ArenaTensor } from '../workspace.ts';
import type { LayerParts } from '../layer-parts.ts';
import { LayerWeights } from '../weights/layer-weights.ts';

/** Runs the experts of decoder layer `index` one at a time. */
export class ExpertProbe {
  readonly #parts: LayerParts;
  readonly #weights: LayerWeights;
  readonly #index: number;
  readonly #plan: MoePlan | null;

  constructor(parts: LayerParts, index: number) {
    const feedForward = parts.plan.layers[index]?.feedForward;
    this.#parts = parts;
    this.#weights = new LayerWeights(parts, index);
    this.#index = index;
    this.#plan = feedForward?.kind === 'moe' ? feedForward : null;
  }

  /** Output `[rows × hidden]` of an expert on rows `tokens` of `x`: as the layer adds it, but for the gate weight. */
  async outputs(x: ArenaTensor, expert: number, tokens: Int32Array): Promise<Float32Array> {
    const { programs, workspace, kernels } = this.#parts;
    const [count = 0, hidden = 0] = x.shape;
    const width = this.#plan === null ? 0 : expertWidth(this.#plan, expert);
    if (tokens.length === 0 || width === 0) return new Float32Array(tokens.length * hidden);
    return workspace.scratch(async () => {
      const rows = workspace.tensor(tokens.length, hidden);
      kernels.gatherRows(rows.offset, x.offset, tokens, hidden, count);
      const weight = workspace.tensor(tokens.length, 1);
      weight.data.fill(1);
      const y = workspace.tensor(tokens.length, hidden);
      const program = await programs.of('inference').expert(this.#index, this.#weights.dtypes(expert));
      program.run(
        { x: rows, weight, ...this.#weights.views('expert', expert) },
        {
          y,
          gateProjection: workspace.tensor(tokens.length, width),
          upProjection: workspace.tensor(tokens.length, width),
        },
      );
      return y.data.slice();
    });
  }
}
