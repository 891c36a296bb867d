/** Character offsets of tokens: which part of the text each token stands for. Positions are UTF-16 units, as in JavaScript strings. */
import { UserError } from '#core/contract/errors.ts';

/** A text after normalisation, with the place of every UTF-16 unit in the text before; null arrays mean "the same place". */
export interface NormalizedText {
  readonly text: string;
  readonly starts: Int32Array | null;
  readonly ends: Int32Array | null;
}

/** A character with the marks that may compose with it: combining marks and the vowels and finals of Hangul. */
const CLUSTER = /[^][\p{M}\u1161-\u1175\u11a8-\u11c2]*/gu;

/**
 * Normalises a text and records where every unit came from.
 *
 * Normalisers work locally, so each cluster is normalised alone, and the joined result is compared with the normalised whole.
 * @param prefix what the normaliser puts before every text, already normalised (empty for most).
 * @param normalizeCluster the normaliser without that prefix.
 * @throws UserError `tokenizer/offsets` when the pieces don't add up to the whole.
 */
export function alignNormalized(
  text: string,
  normalized: string,
  prefix: string,
  normalizeCluster: (cluster: string) => string,
): NormalizedText {
  if (text === normalized) return { text, starts: null, ends: null };
  const starts = new Int32Array(normalized.length);
  const ends = new Int32Array(normalized.length);
  const known = new Map<string, string>();
  let at = prefix.length; // the prefix stands for nothing in the text: its offsets stay 0, 0
  let joined = prefix;
  for (const { 0: cluster, index } of text.matchAll(CLUSTER)) {
    let result = known.get(cluster);
    if (result === undefined) known.set(cluster, (result = normalizeCluster(cluster)));
    joined += result;
    const sameLength = result.length === cluster.length;
    for (let unit = 0; unit < result.length && at < normalized.length; unit++, at++) {
      starts[at] = sameLength ? index + unit : index;
      ends[at] = sameLength ? index + unit + 1 : index + cluster.length;
    }
  }
  if (joined !== normalized) throw unsupported('its normaliser changes text across characters');
  return { text: normalized, starts, ends };
}

function unsupported(why: string): UserError {
  return new UserError(
    'tokenizer/offsets',
    `the place of tokens in the text can't be found for this tokenizer: ${why}`,
    'Train on all tokens instead (lossOn "all"), which needs no places.',
  );
}

/** How the strings of a vocabulary stand for text. */
export interface TokenSpelling {
  /** One character per UTF-8 byte (GPT-2's alphabet). */
  readonly byteLevel: boolean;
  /** `<0xNN>` stands for one byte. */
  readonly byteFallback: boolean;
  /** Stands for any text outside the vocabulary. */
  readonly unknown: string | undefined;
  /** Starts a token that continues a word (`##` in WordPiece); empty for none. */
  readonly continuation: string;
}

const utf8Length = (code: number) => (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);

/**
 * Start and end of every token in a text, as pairs in the text before normalisation, shifted by `base`.
 *
 * A token that is a part of one character carries that character's offsets.
 * @throws UserError `tokenizer/offsets` when the tokens don't spell the text.
 */
export function tokenOffsets(
  tokens: readonly string[],
  source: NormalizedText,
  spelling: TokenSpelling,
  base: number,
  out: number[],
): void {
  const walker = new TextWalker(source.text);
  for (const [index, token] of tokens.entries()) {
    const [start, end] = spelling.byteLevel
      ? walker.takeBytes(index === 0 ? token.length - virtualSpace(token, source.text) : token.length)
      : takeSpelled(walker, tokens, index, spelling);
    const first = source.starts === null ? start : (source.starts[start] ?? source.ends?.at(-1) ?? 0);
    const last = source.ends === null ? end : end > start ? (source.ends[end - 1] ?? first) : first;
    out.push(base + first, base + last);
  }
  if (!walker.isAtEnd()) throw unsupported('its tokens do not spell the whole text');
}

/** 1 when a byte-level pre-tokenizer put a space before the text. */
function virtualSpace(token: string, text: string): number {
  return token.startsWith('Ġ') && !text.startsWith(' ') ? 1 : 0;
}

function takeSpelled(
  walker: TextWalker,
  tokens: readonly string[],
  index: number,
  spelling: TokenSpelling,
): [number, number] {
  const token = tokens[index] ?? '';
  if (spelling.byteFallback && /^<0x[0-9A-F]{2}>$/.test(token)) return walker.takeBytes(1);
  if (token === spelling.unknown) return walker.takeUntil(tokens[index + 1]);
  const { continuation } = spelling;
  const surface =
    continuation !== '' && token.startsWith(continuation) ? token.slice(continuation.length) : token;
  const found = walker.takeText(surface);
  if (found === undefined) throw unsupported(`token "${token}" does not occur where it should`);
  return found;
}

/** Walks through a text by bytes of its UTF-8 form or by characters. */
class TextWalker {
  readonly #text: string;
  #at = 0;
  /** Bytes of the character at #at that earlier tokens took. */
  #taken = 0;

  constructor(text: string) {
    this.#text = text;
  }

  isAtEnd(): boolean {
    return this.#taken === 0 && this.#text.slice(this.#at).trim() === '';
  }

  takeBytes(count: number): [number, number] {
    const start = this.#at;
    let end = start;
    for (let left = count; left > 0;) {
      const code = this.#text.codePointAt(this.#at);
      if (code === undefined) throw unsupported('its tokens spell more than the text');
      const units = code > 0xffff ? 2 : 1;
      end = this.#at + units;
      const available = utf8Length(code) - this.#taken;
      if (left < available) {
        this.#taken += left;
        break;
      }
      left -= available;
      this.#taken = 0;
      this.#at = end;
    }
    return [start, end];
  }

  /** The text that spells a token ("▁" is a space), after white space that belongs to no token. */
  takeText(surface: string): [number, number] | undefined {
    for (let start = this.#at; ; start++) {
      const end = this.#match(surface, start);
      if (end !== undefined) return this.#advance(start, end);
      // Metaspace puts a "▁" before a text: it stands for nothing.
      const rest = surface.startsWith('▁') ? this.#match(surface.slice(1), start) : undefined;
      if (rest !== undefined) return this.#advance(start, rest);
      if (!/\s/.test(this.#text[start] ?? '')) return undefined;
    }
  }

  /** Text outside the vocabulary, up to where the next token begins. */
  takeUntil(next: string | undefined): [number, number] {
    const start = this.#at;
    const end = next === undefined ? -1 : this.#text.indexOf(next.replaceAll('▁', ' '), start + 1);
    return this.#advance(start, end < 0 ? this.#text.length : end);
  }

  #advance(start: number, end: number): [number, number] {
    this.#at = end;
    return [start, end];
  }

  #match(surface: string, start: number): number | undefined {
    for (let i = 0; i < surface.length; i++) {
      const expected = surface[i];
      const found = this.#text[start + i];
      if (found !== expected && !(expected === '▁' && found === ' ')) return undefined;
    }
    return start + surface.length;
  }
}
