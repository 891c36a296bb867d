/** Data files as micro-batches, for commands that only look at a model. */
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { withTemporaryFolder } from '#core/process/temporary-folder.ts';
import { createLoader, openTokenizer, prepareData, type MicroBatch } from '#worker/data/index.ts';
import type { Invocation } from './command.ts';

/** `FIELD=COLUMN` pairs as a mapping; undefined without any. @throws UserError `cli/bad-value`. */
export function readMapping(pairs: readonly string[]): Record<string, string> | undefined {
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const [field = '', ...column] = pair.split('=');
      if (field === '' || column.length === 0) {
        throw new UserError(
          'cli/bad-value',
          `--mapping is ${JSON.stringify(pair)}`,
          'Expected FIELD=COLUMN, for instance prompt=question.',
        );
      }
      return [field, column.join('=')];
    }),
  );
}

/** What was read. */
export interface Samples {
  readonly batches: readonly MicroBatch[];
  readonly examples: number;
  readonly tokens: number;
  readonly files: readonly { readonly path: string; readonly sha256: string }[];
}

/**
 * Reads the files of option `option` with the tokenizer of `modelDir`, one example a micro-batch.
 * @throws UserError `cli/missing-option`, and everything wrong with the data.
 */
export async function readSamples(
  invocation: Invocation,
  modelDir: string,
  option = 'data',
): Promise<Samples> {
  const files = invocation.texts(option);
  if (files.length === 0) invocation.requiredText(option);
  const mapping = readMapping(invocation.texts('mapping'));
  const maxLength = invocation.integer('max-length') ?? 2048;
  const limit = invocation.integer('samples') ?? 128;
  const seed = invocation.integer('seed', 0) ?? 0;
  const tokenizer = await openTokenizer(modelDir);
  return withTemporaryFolder('samples', async (cacheDir) => {
    const data = await prepareData(
      {
        train: files.map((file) => ({ path: path.resolve(file), ...(mapping && { mapping }) })),
        validation: { fraction: 0 },
        template: invocation.choice('template', ['auto', 'none']) ?? 'auto',
        lossOn: invocation.choice('loss-on', ['completion', 'all']) ?? 'all',
        maxLength,
        packing: false,
      },
      {
        tokenizer,
        cacheDir,
        seed,
        onProgress: (_, rows) => invocation.terminal.progress(`${rows} rows read`),
      },
    );
    try {
      const options = { microBatch: 1, maxLength, packing: false, seed, padId: tokenizer.padId ?? 0 };
      const batches: MicroBatch[] = [];
      for (const batch of createLoader(data.train, options).pass()) {
        batches.push(batch);
        if (batches.length === limit) break;
      }
      return {
        batches,
        examples: batches.length,
        tokens: batches.reduce((sum, batch) => sum + batch.tokens, 0),
        files: data.stats.files.map(({ path: file, sha256 }) => ({ path: file, sha256 })),
      };
    } finally {
      data.close();
    }
  });
}
