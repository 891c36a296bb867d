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

/** What a model wrote. */
export interface GreedyAnswer {
  readonly ids: readonly number[];
  /** It had not ended when it was as long as was allowed. */
  readonly isCut: boolean;
}

/** Answers each prompt greedily, with up to `count` tokens; one of `ends` ends an answer and is not part of it. */
export async function answerGreedily(
  executor: Executor,
  prompts: readonly Int32Array[],
  count: number,
  ends: ReadonlySet<number>,
): Promise<readonly GreedyAnswer[]> {
  const answers = prompts.map(() => ({ ids: [] as number[], isCut: true }));
  await generateGreedy(executor, prompts, count, (ids) => {
    for (const [row, answer] of answers.entries()) {
      const id = ids[row] as number;
      if (answer.isCut && ends.has(id)) answer.isCut = false;
      else if (answer.isCut) answer.ids.push(id);
    }
    return answers.some(({ isCut }) => isCut);
  });
  return answers;
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
