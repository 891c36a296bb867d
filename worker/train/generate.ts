/** Decoding: each token from the logits after the one before. */
import { invariant } from '#core/contract/errors.ts';
import type { Executor } from '#worker/engine/index.ts';
import { uniform } from '#worker/random/index.ts';

/** Chooses the token of a row that follows `logits_V`; `made` counts those chosen before. */
export type NextToken = (logits_V: Float32Array, made: number, row: number) => number;

/** The most likely token, the lower id of equals. */
export const likeliest: NextToken = (logits_V) => {
  let best = 0;
  for (let id = 1; id < logits_V.length; id++)
    if ((logits_V[id] as number) > (logits_V[best] as number)) best = id;
  return best;
};

/** Draws from `softmax(logits / temperature)`: the same tokens for the same seed. @param temperature above 0. */
export function sampled(temperature: number, seed: number): NextToken {
  return (logits_V, made, row) => {
    const largest = logits_V[likeliest(logits_V, made, row)] as number;
    const weights_V = Float64Array.from(logits_V, (logit) => Math.exp((logit - largest) / temperature));
    const total = weights_V.reduce((sum, weight) => sum + weight, 0);
    let left = (uniform(seed, `token ${made} of row ${row}`, 1)[0] as number) * total;
    const drawn = weights_V.findIndex((weight) => (left -= weight) < 0);
    // Rounding may leave a little over.
    return drawn < 0 ? weights_V.findLastIndex((weight) => weight > 0) : drawn;
  };
}

/** Called with each new token of a row, and the logits that it was chosen by; false: it is the last of its row. */
export type TokenListener = (id: number, row: number, logits_V: Float32Array) => boolean;

/**
 * Appends up to `count` tokens to each prompt, each chosen by `next`. Keys and values of earlier tokens are kept, so that a
 * token costs one pass over itself, and a row that has ended costs nothing.
 * @param prompts token ids of each row, without padding.
 */
export async function generateTokens(
  executor: Executor,
  prompts: readonly Int32Array[],
  count: number,
  onToken: TokenListener,
  next: NextToken = likeliest,
): Promise<void> {
  const capacity = Math.max(...prompts.map(({ length }) => length)) + count;
  await executor.decode(prompts.length, capacity, async (decoder) => {
    let rows = [...prompts.keys()];
    let logits = await decoder.feed(prompts);
    for (let made = 0; made < count; made++) {
      const vocabulary = logits.length / rows.length;
      const chosen = rows.map((row, at) => {
        const logits_V = logits.subarray(at * vocabulary, (at + 1) * vocabulary);
        const id = next(logits_V, made, row);
        return { at, row, id, goesOn: onToken(id, row, logits_V) };
      });
      const open = chosen.filter(({ goesOn }) => goesOn);
      if (open.length === 0 || made + 1 === count) return;
      if (open.length < rows.length) decoder.keep(open.map(({ at }) => at));
      rows = open.map(({ row }) => row);
      logits = await decoder.step(Int32Array.from(open, ({ id }) => id));
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
  await generateTokens(executor, prompts, count, (id, row) => {
    const answer = answers[row];
    invariant(answer !== undefined, `row ${row} of ${answers.length}`);
    answer.isCut = !ends.has(id);
    if (answer.isCut) answer.ids.push(id);
    return answer.isCut;
  });
  return answers;
}
