/**
 * Types of the parts used of two packages whose own declarations import without file extensions,
 * which Node's module resolution does not follow (everything would silently be `any`).
 */

declare module '@huggingface/tokenizers' {
  interface TokenizerModel {
    (words: readonly string[]): string[];
    /** By id; holes are undefined. */
    readonly vocab: readonly (string | undefined)[];
    readonly tokens_to_ids: ReadonlyMap<string, number>;
    readonly unk_token_id: number | undefined;
    readonly unk_token: string | undefined;
  }

  export class Tokenizer {
    constructor(tokenizer: object, config: object);
    readonly normalizer: ((text: string) => string) | null;
    readonly pre_tokenizer: ((text: string, options: { section_index: number }) => string[]) | null;
    readonly model: TokenizerModel | null;
    readonly post_processor: {
      post_process(tokens: string[], pair: null, addSpecialTokens: boolean): { tokens: string[] };
    } | null;
    readonly decoder: { readonly decoders?: readonly object[] } | null;
    decode(
      ids: number[],
      options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
    ): string;
  }

  export class ByteFallbackDecoder {
    text_decoder: TextDecoder;
  }

  export class SequenceNormalizer {
    constructor(config: { type: 'Sequence'; normalizers: readonly object[] });
    normalize(text: string): string;
  }
}

declare module '@huggingface/jinja' {
  interface Program {
    readonly type: 'Program';
  }
  export interface RuntimeValue {
    readonly value: unknown;
  }
  /** A node of the syntax tree, with the fields of calls and of members. */
  export interface Statement {
    readonly type: string;
    readonly callee?: Statement;
    readonly args?: readonly Statement[];
    readonly object?: Statement;
    readonly property?: Statement;
    readonly value?: unknown;
  }

  export class Environment {
    set(name: string, value: unknown): RuntimeValue;
  }

  export class Interpreter {
    constructor(environment: Environment);
    run(program: Program): RuntimeValue;
    evaluate(statement: Statement | undefined, environment: Environment): RuntimeValue;
  }

  interface Token {
    readonly value: string;
    readonly type: string;
  }
  export function tokenize(
    source: string,
    options: { lstrip_blocks: boolean; trim_blocks: boolean },
  ): Token[];
  export function parse(tokens: Token[]): Program;
}
