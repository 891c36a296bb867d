/** Finds added tokens (special tokens and other whole words of the vocabulary) in a text: leftmost first, then longest. */

/** A token that is found before the text is cut into words. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Matched only where no letter or digit touches it. */
  readonly singleWord: boolean;
  /** Takes the white space before (after) it along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Matched after normalisation instead of before. */
  readonly normalized: boolean;
}

interface Node {
  readonly next: Map<number, Node>;
  token: AddedToken | undefined;
}

/** A piece of text: an added token, or plain text to be tokenized. Offsets are UTF-16 positions. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly token: AddedToken | undefined;
}

const WORD = /[\p{L}\p{N}_]/u;
const SPACE = /\s/;

/** A trie over the contents of added tokens. */
export class AddedTokenSplitter {
  readonly #root: Node = { next: new Map(), token: undefined };

  /** @param entries token and the text that stands for it (normalised where the token is matched normalised). */
  constructor(entries: Iterable<readonly [text: string, token: AddedToken]>) {
    for (const [text, token] of entries) {
      if (text === '') continue;
      let node = this.#root;
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        let child = node.next.get(code);
        if (child === undefined) node.next.set(code, (child = { next: new Map(), token: undefined }));
        node = child;
      }
      node.token ??= token;
    }
  }

  /** Cuts a text into added tokens and what is between them, in order and without empty pieces. */
  split(text: string): Piece[] {
    const pieces: Piece[] = [];
    let plain = 0;
    let at = 0;
    while (at < text.length) {
      const match = this.#longestAt(text, at);
      if (match === undefined) {
        at += 1;
        continue;
      }
      let { end } = match;
      let start = at;
      if (match.token.lstrip) while (start > plain && SPACE.test(text[start - 1] ?? '')) start -= 1;
      if (match.token.rstrip) while (end < text.length && SPACE.test(text[end] ?? '')) end += 1;
      if (start > plain) pieces.push({ start: plain, end: start, token: undefined });
      pieces.push({ start, end, token: match.token });
      plain = at = end;
    }
    if (plain < text.length) pieces.push({ start: plain, end: text.length, token: undefined });
    return pieces;
  }

  #longestAt(text: string, start: number): { token: AddedToken; end: number } | undefined {
    let found: { token: AddedToken; end: number } | undefined;
    let node: Node | undefined = this.#root;
    for (let end = start; end < text.length;) {
      node = node.next.get(text.charCodeAt(end));
      if (node === undefined) break;
      end += 1;
      if (node.token !== undefined && isWholeWord(node.token, text, start, end))
        found = { token: node.token, end };
    }
    return found;
  }
}

function isWholeWord(token: AddedToken, text: string, start: number, end: number): boolean {
  return !token.singleWord || !(WORD.test(text[start - 1] ?? '') || WORD.test(text[end] ?? ''));
}
