/** Trains the sample's tokenizer: byte-level byte-pair encoding, as GPT-2 and its descendants use. */

/** Words as the byte-level pre-tokenizer of the `tokenizers` library splits them. */
const WORDS = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The printable character each byte is written as in a vocabulary: itself where printable, else from U+0100 on. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/** A `tokenizer.json` with `size` entries: special tokens, bytes, and the most frequent merges of `text`. */
export function trainTokenizer(
  text: string,
  specialTokens: readonly string[],
  size: number,
): Record<string, unknown> {
  const characters = byteCharacters();
  const encoder = new TextEncoder();
  const counts = new Map<string, number>();
  for (const [word] of text.matchAll(WORDS)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words = [...counts].map(([word, count]) => ({
    count,
    parts: Array.from(encoder.encode(word), (byte) => characters[byte] ?? ''),
  }));
  const vocabulary = [...specialTokens, ...characters];
  const merges: [string, string][] = [];
  while (vocabulary.length < size) {
    const best = mostFrequentPair(words);
    if (best === undefined) break;
    merges.push(best);
    vocabulary.push(best.join(''));
    for (const word of words) word.parts = merge(word.parts, best);
  }
  const special = (content: string, id: number) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map(special),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges,
    },
  };
}

interface Word {
  readonly count: number;
  parts: string[];
}

/** Ties go to the pair that comes first in code-point order, so that the result does not depend on iteration. */
function mostFrequentPair(words: readonly Word[]): [string, string] | undefined {
  const pairs = new Map<string, number>();
  for (const { parts, count } of words) {
    for (let i = 0; i + 1 < parts.length; i++) {
      const key = `${parts[i]}\n${parts[i + 1]}`;
      pairs.set(key, (pairs.get(key) ?? 0) + count);
    }
  }
  let best: [string, number] | undefined;
  for (const [key, count] of pairs) {
    if (best === undefined || count > best[1] || (count === best[1] && key < best[0])) best = [key, count];
  }
  if (best === undefined || best[1] < 2) return undefined;
  const [left = '', right = ''] = best[0].split('\n');
  return [left, right];
}

function merge(parts: readonly string[], [left, right]: readonly [string, string]): string[] {
  const out: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    if (parts[i] === left && parts[i + 1] === right) {
      out.push(left + right);
      i++;
    } else {
      out.push(parts[i] ?? '');
    }
  }
  return out;
}
