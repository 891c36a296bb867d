/** Greedy decoding. */
import type { Executor, MicroBatch } from '#worker/engine/index.ts';

/** One prompt in a batch of equal length: pads lie on the left and are 0 in `mask`. */
export interface Prompts {
  readonly rows: number;
  readonly length: number;
  readonly inputIds: Int32Array;
  readonly mask: Int32Array;
}

/** Called with each decoded token, `[rows]`, and its logits, `[rows × vocabulary]`; false ends the generation. */
export type TokenListener = (ids: Int32Array, logits: Float32Array) => boolean;

/**
 * Appends up to `count` tokens, each the most likely one (the lower id of equals). Positions count real tokens.
 * The whole sequence is computed again for every token.
 */
export async function generateGreedy(
  executor: Executor,
  prompts: Prompts,
  count: number,
  onToken: TokenListener,
): Promise<void> {
  const { rows } = prompts;
  let { length } = prompts;
  let ids = Array.from({ length: rows }, (_, row) => [
    ...prompts.inputIds.subarray(row * length, (row + 1) * length),
  ]);
  let mask = Array.from({ length: rows }, (_, row) => [
    ...prompts.mask.subarray(row * length, (row + 1) * length),
  ]);
  for (let step = 0; step < count; step++) {
    const last = Int32Array.from({ length: rows }, (_, row) => row * length + length - 1);
    const { logits } = await executor.logits(decodingBatch(ids, mask), last);
    const next = argmaxRows(logits, rows);
    if (!onToken(next, logits)) return;
    ids = ids.map((row, r) => [...row, next[r] ?? 0]);
    mask = mask.map((row) => [...row, 1]);
    length++;
  }
}

function decodingBatch(
  ids: readonly (readonly number[])[],
  mask: readonly (readonly number[])[],
): MicroBatch {
  const length = ids[0]?.length ?? 0;
  const positions = mask.flatMap((row) => {
    let seen = 0;
    return row.map((real) => (real === 1 ? seen++ : 0));
  });
  return {
    batch: ids.length,
    sequence: length,
    inputIds: Int32Array.from(ids.flat()),
    labels: new Int32Array(ids.length * length).fill(-100),
    positions: Int32Array.from(positions),
    segments: Int32Array.from(mask.flat()),
  };
}

function argmaxRows(values: Float32Array, rows: number): Int32Array {
  const width = values.length / rows;
  return Int32Array.from({ length: rows }, (_, row) => {
    let best = 0;
    for (let column = 1; column < width; column++) {
      if ((values[row * width + column] as number) > (values[row * width + best] as number)) best = column;
    }
    return best;
  });
}
