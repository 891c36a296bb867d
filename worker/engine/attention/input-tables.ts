/** What attention reads beside the hidden state: positions, masks and rotary tables. */
import {
  checkPositions,
  isConvolution,
  ropeTables,
  tableScale,
  type DecoderPlan,
  type RopePlan,
} from '#worker/model/index.ts';
import type { TensorView, Tensors } from '#worker/runtime/index.ts';
import { QUERY_BLOCK, type AttentionInputs } from './attention-runner.ts';
import { AttentionMask } from './attention-mask.ts';
import type { MicroBatch } from '../batch.ts';
import type { Workspace } from '../workspace.ts';

interface Tables {
  readonly positions: number;
  readonly scale: number;
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

  /** One entry for each layer. Masks are taken from the workspace. @throws UserError `data/too-long`. */
  ofLayers(plan: DecoderPlan, batch: MicroBatch): AttentionInputs[] {
    const { batch: rows, sequence: length } = batch;
    // The kernel wants tables as long as the row, whatever the positions in it.
    const reached = reach(batch.positions);
    checkPositions(plan, reached);
    const size = Math.max(reached, length);
    const positions = this.#workspace.integers(batch.positions, rows, length);
    const masks = new Map<string, Pick<AttentionInputs, 'mask' | 'whole'>>();
    return plan.layers.map(({ attention }) => {
      const { window, rope } = attention;
      const lags = isConvolution(attention);
      const key = `${window} ${lags}`;
      let mask = masks.get(key);
      if (mask === undefined) masks.set(key, (mask = this.#mask(batch, window, lags)));
      return {
        rows,
        length,
        ...mask,
        tables: { positions, ...(rope !== null && this.#ropeTables(rope, reached, size)) },
      };
    });
  }

  /**
   * What the heads of each layer read for tokens at `positions`, as one row.
   * @param capacity positions that rows may reach: keys in a cache are turned once and for all.
   */
  ofPositions(plan: DecoderPlan, positions: readonly number[], capacity: number): Tensors[] {
    checkPositions(plan, capacity);
    const size = Math.max(reach(positions), positions.length);
    const tensor = this.#workspace.integers(positions, 1, positions.length);
    return plan.layers.map(({ attention: { rope } }) => ({
      positions: tensor,
      ...(rope !== null && this.#ropeTables(rope, capacity, size)),
    }));
  }

  /** Long rows have no mask as a whole: it grows with their square. */
  #mask(
    batch: MicroBatch,
    window: number | undefined,
    lags: boolean,
  ): Pick<AttentionInputs, 'mask' | 'whole'> {
    const { batch: rows, sequence: length } = batch;
    const mask = new AttentionMask(batch, window, lags);
    if (length > QUERY_BLOCK) return { mask, whole: null };
    const whole = this.#workspace.tensor(rows, 1, length, length);
    mask.writeWhole(whole.data);
    return { mask, whole };
  }

  /** Tables grow in powers of two, so that they are rarely made again. */
  #ropeTables(
    rope: RopePlan,
    reached: number,
    positions: number,
  ): { readonly cos: TensorView; readonly sin: TensorView } {
    const scale = tableScale(rope, reached);
    let tables = this.#tables.get(rope);
    if (tables === undefined || tables.positions < positions || tables.scale !== scale) {
      const size = 2 ** Math.ceil(Math.log2(positions));
      const { cos_PD, sin_PD } = ropeTables(rope, size, scale);
      const shape = [size, rope.inverseFrequencies.length];
      tables = {
        positions: size,
        scale,
        cos: { dtype: 'float32', shape, data: cos_PD },
        sin: { dtype: 'float32', shape, data: sin_PD },
      };
      this.#tables.set(rope, tables);
    }
    return { cos: tables.cos, sin: tables.sin };
  }
}

/** One more than the highest position. */
function reach(positions: ArrayLike<number>): number {
  let reached = 0;
  for (let i = 0; i < positions.length; i++) reached = Math.max(reached, (positions[i] as number) + 1);
  return reached;
}
