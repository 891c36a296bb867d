/** Greedy decoding. */
import type { Executor } from '#worker/engine/index.ts';

/** Called with each decoded token, `[rows]`, and its logits, `[rows × vocabulary]`; false ends the generation. */
export type TokenListener = (ids: Int32Array, logits: Float32Array) => boolean;

/**
 * Appends up to `count` tokens to each prompt, each the most likely one (the lower id of equals). Keys and values of earlier
 * tokens are kept, so that a token costs one pass over itself.
 * @param prompts token ids of each row, without padding.
 */
export async function generateGreedy(
  executor: Executor,
  prompts: readonly Int32Array[],
  count: number,
  onToken: TokenListener,
): Promise<void> {
  const capacity = Math.max(...prompts.map(({ length }) => length)) + count;
  await executor.decode(prompts.length, capacity, async (decoder) => {
    let logits = await decoder.feed(prompts);
    for (let made = 1; made <= count; made++) {
      const next = argmaxRows(logits, prompts.length);
      if (!onToken(next, logits) || made === count) return;
      logits = await decoder.step(next);
    }
  });
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
