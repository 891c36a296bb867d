/** What attention reads beside the hidden state: positions, masks and rotary tables. */
import { ropeTables, type DecoderPlan, type RopePlan } from '#worker/model/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import type { AttentionInputs } from './attention-runner.ts';
import { attentionMask, type MicroBatch } from './batch.ts';
import type { Workspace } from './workspace.ts';

interface Tables {
  readonly positions: number;
  readonly cos: TensorView;
  readonly sin: TensorView;
}

/** Makes the inputs of a decoder's layers; those with the same window or rotation share them. */
export class InputTables {
  readonly #workspace: Workspace;
  readonly #tables = new Map<RopePlan, Tables>();

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
  }

  /** One entry for each layer. Masks are taken from the workspace. */
  ofLayers(plan: DecoderPlan, batch: MicroBatch): AttentionInputs[] {
    const { batch: rows, sequence: length } = batch;
    // The kernel wants tables as long as the row, whatever the positions in it.
    const highest = batch.positions.reduce((most, position) => Math.max(most, position + 1), length);
    const positions = this.#workspace.integers(batch.positions, rows, length);
    const masks = new Map<number | undefined, TensorView>();
    return plan.layers.map(({ attention: { window, rope } }) => {
      let mask = masks.get(window);
      if (mask === undefined) {
        const made = this.#workspace.tensor(rows, 1, length, length);
        attentionMask(batch, made.data, window);
        masks.set(window, (mask = made));
      }
      return { positions, mask, ...(rope !== null && this.#ropeTables(rope, highest)) };
    });
  }

  /** Tables grow in powers of two, so that they are rarely made again. */
  #ropeTables(rope: RopePlan, positions: number): Pick<Tables, 'cos' | 'sin'> {
    let tables = this.#tables.get(rope);
    if (tables === undefined || tables.positions < positions) {
      const size = 2 ** Math.ceil(Math.log2(positions));
      const { cos_PD, sin_PD } = ropeTables(rope, size);
      const shape = [size, rope.inverseFrequencies.length];
      tables = {
        positions: size,
        cos: { dtype: 'float32', shape, data: cos_PD },
        sin: { dtype: 'float32', shape, data: sin_PD },
      };
      this.#tables.set(rope, tables);
    }
    return { cos: tables.cos, sin: tables.sin };
  }
}
