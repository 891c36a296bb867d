/** `bench --generate`: greedy decoding, timed. */
import path from 'node:path';
import { philox } from '#worker/random/index.ts';
import { generateTokens, loadModel } from '#worker/train/index.ts';
import { sampleModel } from '../../host-ports.ts';
import type { Command } from '../command.ts';
import { measureLoad } from './machine-load.ts';
import { megabytes, number, table } from '../terminal.ts';

const PROMPT_TOKENS = 64;
const NEW_TOKENS = 64;
const BATCHES = [1, 8];
const SEED = 1234;

/** Generates for one prompt and for eight at once, and reports the best of a few repetitions. */
export const benchGenerate: Command = async (invocation) => {
  const modelDir = path.resolve(invocation.text('model') ?? sampleModel());
  const repeats = invocation.integer('steps') ?? 5;
  const threads = invocation.integer('threads') ?? 'auto';
  const method = { name: 'full', options: {} };
  const model = await loadModel({ modelDir, method, trains: false, threads });
  try {
    const load = measureLoad();
    const rows: { rows: number; tokensPerSecond: number; firstTokenMs: number }[] = [];
    for (const count of BATCHES) {
      const prompts = Array.from({ length: count }, (_, row) =>
        Int32Array.from(
          { length: PROMPT_TOKENS },
          (_, i) => 2 + (philox(SEED, i, row)[0] % (model.plan.vocabularySize - 2)),
        ),
      );
      let best = { tokensPerSecond: 0, firstTokenMs: 0 };
      for (let repeat = 0; repeat < repeats; repeat++) {
        invocation.terminal.progress(`${count} prompts, ${repeat + 1}/${repeats}`);
        const started = performance.now();
        let firstAt = 0;
        await generateTokens(model.executor, prompts, NEW_TOKENS, () => {
          firstAt ||= performance.now();
          return true;
        });
        // As its users see it: reading the prompt counts.
        const tokensPerSecond = (1000 * count * NEW_TOKENS) / (performance.now() - started);
        if (tokensPerSecond > best.tokensPerSecond)
          best = { tokensPerSecond, firstTokenMs: firstAt - started };
      }
      rows.push({ rows: count, ...best });
    }
    const peakRssMB = (process.resourceUsage().maxRSS * 1024) / 1e6;
    const othersCores = load();
    return {
      document: {
        model: path.basename(modelDir),
        promptTokens: PROMPT_TOKENS,
        newTokens: NEW_TOKENS,
        threads: model.runtime.threads,
        generation: rows,
        peakRssMB,
        ...(othersCores !== undefined && { othersCores }),
      },
      text: table([
        [path.basename(modelDir), `${NEW_TOKENS} tokens after ${PROMPT_TOKENS}`],
        ...rows.map(({ rows: count, tokensPerSecond, firstTokenMs }) => [
          count === 1 ? 'one prompt' : `${count} prompts`,
          `${number(tokensPerSecond)} tokens/s best, the first after ${number(firstTokenMs, 3)} ms`,
        ]),
        ['peak memory', megabytes(peakRssMB)],
        ...(othersCores === undefined
          ? []
          : [['disturbed by', `${number(othersCores, 2)} cores busy for other programs`]]),
      ]),
    };
  } finally {
    model.close();
  }
};
