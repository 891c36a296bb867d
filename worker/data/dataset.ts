/** Examples on disk, read by number. */
import { invariant } from '#core/contract/errors.ts';
import type { StoredExample, TokenCache } from './token-cache.ts';

/** Tokenized examples, whichever files they come from. */
export interface Dataset {
  /** Number of examples. */
  readonly length: number;
  /** Tokens of each example. */
  readonly lengths: Uint32Array;
  readonly tokens: number;
  readonly trainedTokens: number;
  /** Ids and labels of an example, read from disk. */
  read(example: number): StoredExample;
  /** The file and 1-based row an example comes from. */
  origin(example: number): { readonly path: string; readonly row: number };
}

/** Some examples of one cached file. */
export interface DatasetPart {
  readonly path: string;
  readonly cache: TokenCache;
  /** Example numbers within the cache, ascending. */
  readonly chosen: Uint32Array;
}

/** Joins parts of several files into one data set, in order. */
export function joinParts(parts: readonly DatasetPart[]): Dataset {
  const length = parts.reduce((sum, { chosen }) => sum + chosen.length, 0);
  const lengths = new Uint32Array(length);
  const ends: number[] = [];
  let at = 0;
  let tokens = 0;
  let trainedTokens = 0;
  for (const { cache, chosen } of parts) {
    for (const example of chosen) {
      const count = cache.lengths[example] ?? 0;
      lengths[at++] = count;
      tokens += count;
      trainedTokens += cache.trainedCounts[example] ?? 0;
    }
    ends.push(at);
  }
  const locate = (example: number): { part: DatasetPart; inner: number } => {
    const which = ends.findIndex((end) => example < end);
    const part = parts[which];
    const inner = part?.chosen[example - (ends[which - 1] ?? 0)];
    invariant(part !== undefined && inner !== undefined, `example ${example} of ${length}`);
    return { part, inner };
  };
  return {
    length,
    lengths,
    tokens,
    trainedTokens,
    read(example) {
      const { part, inner } = locate(example);
      return part.cache.read(inner);
    },
    origin(example) {
      const { part, inner } = locate(example);
      return { path: part.path, row: part.cache.rows[inner] ?? 0 };
    },
  };
}

/** How often each token occurs in a data set, `[vocabulary]`; every example is read once. */
export function tokenCounts(dataset: Dataset, vocabulary: number): Uint32Array {
  const counts = new Uint32Array(vocabulary);
  for (let example = 0; example < dataset.length; example++)
    for (const id of dataset.read(example).ids) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
}
