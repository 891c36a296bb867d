/** Tokenizers that stay open between looks at the same data: reading a large one takes seconds. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { openTokenizer, type Tokenizer } from '#worker/data/index.ts';

/** Tokenizers kept; one with a large vocabulary takes about 100 MB. */
const MOST_KEPT = 2;

const kept = new Map<string, { readonly stamp: string; readonly tokenizer: Promise<Tokenizer> }>();

/**
 * The tokenizer of the checkpoint folder `folder`, opened again once one of its files has changed.
 * @throws UserError those of `openTokenizer`.
 */
export async function keptTokenizer(folder: string): Promise<Tokenizer> {
  const stamp = await stampOf(folder);
  const known = kept.get(folder);
  const tokenizer = known?.stamp === stamp ? known.tokenizer : openTokenizer(folder);
  // A Map keeps insertion order: the first one is the one used longest ago.
  kept.delete(folder);
  kept.set(folder, { stamp, tokenizer });
  const [oldest] = kept.keys();
  if (kept.size > MOST_KEPT && oldest !== undefined) kept.delete(oldest);
  try {
    return await tokenizer;
  } catch (error) {
    if (kept.get(folder)?.tokenizer === tokenizer) kept.delete(folder);
    throw error;
  }
}

/** Name, size and time of change of every file a tokenizer may be read from. */
async function stampOf(folder: string): Promise<string> {
  const names = await readdir(folder).catch((): string[] => []);
  const files = names.filter((name) => /\.(json|jinja)$/.test(name)).sort();
  const lines = files.map(async (name) => {
    const { size, mtimeMs } = await stat(path.join(folder, name));
    return `${name} ${size} ${mtimeMs}`;
  });
  return (await Promise.all(lines)).join('\n');
}
