/** Tokenizer of a checkpoint folder: text to ids with character offsets, ids to text, and the chat template. */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { UserError, invariant } from '#core/contract/errors.ts';
import { AddedTokenSplitter } from './added-tokens.ts';
import type { AddedToken, Piece } from './added-tokens.ts';
import { ChatTemplate } from '../chat-template.ts';
import type { RenderOptions } from '../chat-template.ts';
import type { ChatMessage } from '../mapping.ts';
import { alignNormalized, tokenOffsets } from './offsets.ts';
import type { TokenSpelling } from './offsets.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';
import type { ReadText, TokenizerJson } from './tokenizer-files.ts';
import { aroundText, keepByteOrderMarks, withoutPrepend } from './tokenizer-library.ts';

/** A text as tokens. */
export interface Encoded {
  readonly ids: readonly number[];
  /**
   * Start and end of every token in the text, in pairs of UTF-16 positions; tokens the tokenizer adds itself are 0, 0.
   * Computed when first read. @throws UserError `tokenizer/offsets` for tokenizers whose tokens can't be placed.
   */
  readonly offsets: Int32Array;
}

/** What a checkpoint makes of text, and of ids. */
export interface Tokenizer {
  /** Hex digest of tokenizer files and template. */
  readonly sha256: string;
  /** Entries of the vocabulary, added tokens included. */
  readonly vocabSize: number;
  /** Largest id plus one: what the embedding must have rows for. */
  readonly idLimit: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  readonly eosToken: string | null;
  readonly hasChatTemplate: boolean;
  /**
   * Text to ids. Special tokens written in the text are recognised as such, as everywhere in this ecosystem.
   * @param options.addSpecialTokens also add what the tokenizer puts around a text (a start token, mostly).
   */
  encode(text: string, options: { readonly addSpecialTokens: boolean }): Encoded;
  /** Ids to text, without any clean-up of spaces. @throws UserError `tokenizer/unknown-id`. */
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  isSpecial(id: number): boolean;
  /** Whether the id belongs to an added token, special or not. */
  isAdded(id: number): boolean;
  /** Special tokens that occur in a text, each once. */
  specialTokensIn(text: string): string[];
  /** @throws UserError `template/…` when there is no template, or it fails or refuses the conversation. */
  renderChat(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/** A run of text given to the model part of the tokenizer. */
interface ModelRun {
  readonly tokens: readonly string[];
  /** The piece between added tokens, before normalisation, and its place in the text. */
  readonly piece: string;
  readonly pieceStart: number;
  readonly normalized: string;
  /** The part of `normalized` these tokens spell. */
  readonly from: number;
  readonly to: number;
}

/** An added token found in the text. */
interface AddedRun {
  readonly token: AddedToken;
  readonly start: number;
  readonly end: number;
}

type Run = ModelRun | AddedRun;

/**
 * Opens the tokenizer in a checkpoint folder.
 * @param readText how its files are read, by path; from the disk when absent.
 * @throws UserError `tokenizer/missing` or `tokenizer/damaged` naming the file.
 */
export async function openTokenizer(folder: string, readText?: ReadText): Promise<Tokenizer> {
  const files = await readTokenizerFiles(folder, readText);
  let library: HuggingFaceTokenizer;
  try {
    library = new HuggingFaceTokenizer(files.json, files.config);
  } catch (cause) {
    throw new UserError(
      'tokenizer/damaged',
      `${folder}: tokenizer.json can't be used (${cause instanceof Error ? cause.message : String(cause)})`,
      'Copy tokenizer.json from the model again; tokenizers with parts of an unknown type are not supported.',
      { cause },
    );
  }
  keepByteOrderMarks(library);
  const specials = files.specialTokens;
  const template =
    files.template === null ? null : new ChatTemplate(files.template.source, files.template.file, specials);
  return new CheckpointTokenizer(library, files.json, template, specials, files.sha256);
}

class CheckpointTokenizer implements Tokenizer {
  readonly sha256: string;
  readonly vocabSize: number;
  readonly idLimit: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  readonly eosToken: string | null;
  readonly hasChatTemplate: boolean;
  readonly #library: HuggingFaceTokenizer;
  readonly #model: NonNullable<HuggingFaceTokenizer['model']>;
  readonly #template: ChatTemplate | null;
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #before: AddedTokenSplitter;
  readonly #afterNormalization: AddedTokenSplitter;
  readonly #spelling: TokenSpelling;
  readonly #prefixIds: readonly number[];
  readonly #suffixIds: readonly number[];
  readonly #normalizeCluster: (cluster: string) => string;
  readonly #normalizerPrefix: string;

  constructor(
    library: HuggingFaceTokenizer,
    json: TokenizerJson,
    template: ChatTemplate | null,
    specials: Readonly<Record<string, string>>,
    sha256: string,
  ) {
    invariant(library.model !== null, 'the tokenizer library builds a model or throws');
    this.#library = library;
    this.#model = library.model;
    this.#template = template;
    this.sha256 = sha256;
    this.hasChatTemplate = template !== null;

    const added = json.added_tokens.map((token): AddedToken => ({
      id: token.id,
      content: token.content,
      special: token.special ?? false,
      singleWord: token.single_word ?? false,
      lstrip: token.lstrip ?? false,
      rstrip: token.rstrip ?? false,
      normalized: library.normalizer !== null && (token.normalized ?? !token.special),
    }));
    this.#added = new Map(added.map((token) => [token.id, token]));
    const entry = (token: AddedToken) =>
      [token.normalized ? this.#normalize(token.content) : token.content, token] as const;
    this.#before = new AddedTokenSplitter(added.filter((token) => !token.normalized).map(entry));
    this.#afterNormalization = new AddedTokenSplitter(added.filter((token) => token.normalized).map(entry));

    for (const [token, id] of this.#model.tokens_to_ids) {
      if (Number.isSafeInteger(id) && id >= 0) continue;
      throw new UserError(
        'tokenizer/damaged',
        `tokenizer.json: the vocabulary gives ${JSON.stringify(token)} the id ${JSON.stringify(id)}`,
        'Copy tokenizer.json from the model again.',
      );
    }
    // Added tokens are in the model's own table by now; two spellings of one id count once.
    const ids = new Set(this.#model.tokens_to_ids.values());
    this.vocabSize = ids.size;
    this.idLimit = [...ids].reduce((most, id) => Math.max(most, id), -1) + 1;
    const idOf = (name: string) => {
      const content = specials[name];
      return content === undefined ? null : (this.#model.tokens_to_ids.get(content) ?? null);
    };
    this.bosId = idOf('bos_token');
    this.eosId = idOf('eos_token');
    this.padId = idOf('pad_token');
    this.eosToken = this.eosId === null ? null : (specials['eos_token'] ?? null);

    const { before, after } = aroundText(library);
    this.#prefixIds = before.map((token) => this.#idOf(token));
    this.#suffixIds = after.map((token) => this.#idOf(token));
    this.#spelling = {
      byteLevel: JSON.stringify([json.pre_tokenizer, json.decoder]).includes('"ByteLevel"'),
      byteFallback: json.model.byte_fallback === true,
      unknown: this.#model.unk_token,
      continuation: json.model.type === 'WordPiece' ? (json.model.continuing_subword_prefix ?? '') : '',
    };
    this.#normalizeCluster = withoutPrepend(json.normalizer);
    const sample = this.#normalize('a');
    this.#normalizerPrefix = sample.slice(0, sample.length - this.#normalizeCluster('a').length);
  }

  encode(text: string, options: { readonly addSpecialTokens: boolean }): Encoded {
    const runs = this.#runs(text);
    const [before, after] = options.addSpecialTokens ? [this.#prefixIds, this.#suffixIds] : [[], []];
    const ids = [...before];
    for (const run of runs) {
      if ('token' in run) ids.push(run.token.id);
      else for (const token of run.tokens) ids.push(this.#idOf(token));
    }
    for (const id of after) ids.push(id);
    let offsets: Int32Array | undefined;
    const compute = () => this.#offsets(runs, before.length, after.length);
    return {
      ids,
      get offsets() {
        return (offsets ??= compute());
      },
    };
  }

  decode(ids: readonly number[], options: { readonly skipSpecialTokens?: boolean } = {}): string {
    const kept = options.skipSpecialTokens === true ? ids.filter((id) => !this.isSpecial(id)) : ids;
    for (const id of kept) {
      if (this.#model.vocab[id] !== undefined) continue;
      throw new UserError(
        'tokenizer/unknown-id',
        `token ${id} is not in the vocabulary (${this.vocabSize.toLocaleString('en-US')} entries)`,
        'The tokenizer and the model do not belong together, or the embedding is padded beyond the vocabulary.',
      );
    }
    if (kept.length === 0) return '';
    return this.#library.decode([...kept], {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
  }

  isSpecial(id: number): boolean {
    return this.#added.get(id)?.special === true;
  }

  isAdded(id: number): boolean {
    return this.#added.has(id);
  }

  specialTokensIn(text: string): string[] {
    const found = this.#before.split(text).filter(({ token }) => token?.special === true);
    return [...new Set(found.map(({ token }) => token?.content ?? ''))];
  }

  renderChat(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    if (this.#template !== null) return this.#template.render(messages, options);
    throw new UserError(
      'template/missing',
      'this checkpoint has no chat template',
      'Add chat_template.jinja to the checkpoint folder, or train with the template "none".',
    );
  }

  #normalize(text: string): string {
    return this.#library.normalizer === null ? text : this.#library.normalizer(text);
  }

  #idOf(token: string): number {
    const id = this.#model.tokens_to_ids.get(token) ?? this.#model.unk_token_id;
    if (id !== undefined) return id;
    throw new UserError(
      'tokenizer/no-token',
      `the vocabulary has no entry for ${JSON.stringify(token)}, and no token for unknown text`,
      'The tokenizer is incomplete: copy tokenizer.json from the model again.',
    );
  }

  /** Added tokens are cut out first; what is between them is normalised, cut again, pre-tokenized and given to the model. */
  #runs(text: string): Run[] {
    const runs: Run[] = [];
    const pieces = this.#before.split(text);
    for (const [index, { start, end, token }] of pieces.entries()) {
      if (token !== undefined) {
        runs.push({ token, start, end });
        continue;
      }
      const piece = text.slice(start, end);
      const normalized = this.#normalize(piece);
      for (const inner of this.#afterNormalization.split(normalized)) {
        runs.push(this.#innerRun(inner, { piece, pieceStart: start, normalized, section: index }));
      }
    }
    return runs;
  }

  #innerRun(
    inner: Piece,
    outer: { piece: string; pieceStart: number; normalized: string; section: number },
  ): Run {
    const { piece, pieceStart, normalized, section } = outer;
    if (inner.token !== undefined) {
      const place = this.#align(piece, normalized);
      const start = place.starts?.[inner.start] ?? inner.start;
      const end = place.ends?.[inner.end - 1] ?? inner.end;
      return { token: inner.token, start: pieceStart + start, end: pieceStart + end };
    }
    const part = normalized.slice(inner.start, inner.end);
    const words =
      this.#library.pre_tokenizer === null
        ? [part]
        : this.#library.pre_tokenizer(part, { section_index: section });
    return { tokens: this.#model(words), piece, pieceStart, normalized, from: inner.start, to: inner.end };
  }

  #align(piece: string, normalized: string) {
    return alignNormalized(piece, normalized, this.#normalizerPrefix, this.#normalizeCluster);
  }

  #offsets(runs: readonly Run[], before: number, after: number): Int32Array {
    const pairs: number[] = Array.from({ length: 2 * before }, () => 0);
    for (const run of runs) {
      if ('token' in run) {
        pairs.push(run.start, run.end);
        continue;
      }
      const { text, starts, ends } = this.#align(run.piece, run.normalized);
      const whole = run.from === 0 && run.to === text.length;
      const part = whole
        ? { text, starts, ends }
        : {
            text: text.slice(run.from, run.to),
            starts: starts?.subarray(run.from, run.to) ?? null,
            ends: ends?.subarray(run.from, run.to) ?? null,
          };
      tokenOffsets(
        run.tokens,
        part,
        this.#spelling,
        run.pieceStart + (starts === null ? run.from : 0),
        pairs,
      );
    }
    for (let i = 0; i < 2 * after; i++) pairs.push(0);
    return Int32Array.from(pairs);
  }
}
