/** Reads the tokenizer files of a checkpoint folder. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';

const NormalizerConfig = z.looseObject({
  type: z.string(),
  normalizers: z.array(z.looseObject({ type: z.string() })).optional(),
});

const TokenizerJson = z.looseObject({
  added_tokens: z
    .array(
      z.looseObject({
        id: z.int().min(0),
        content: z.string(),
        special: z.boolean().optional(),
        single_word: z.boolean().optional(),
        lstrip: z.boolean().optional(),
        rstrip: z.boolean().optional(),
        normalized: z.boolean().optional(),
      }),
    )
    .default([]),
  normalizer: NormalizerConfig.nullable().default(null),
  pre_tokenizer: z.looseObject({ type: z.string() }).nullable().default(null),
  post_processor: z.looseObject({ type: z.string() }).nullable().default(null),
  decoder: z.looseObject({ type: z.string() }).nullable().default(null),
  model: z.looseObject({
    type: z.string().optional(),
    // Hundreds of thousands of entries: only that it is there is checked, entry by entry would take longer than reading it.
    vocab: z.custom<object>((value) => typeof value === 'object' && value !== null, 'expected a vocabulary'),
    byte_fallback: z.boolean().optional(),
    continuing_subword_prefix: z.string().nullish(),
  }),
});
export type TokenizerJson = z.infer<typeof TokenizerJson>;

const TokenName = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const TokenizerConfig = z.looseObject({
  bos_token: TokenName,
  eos_token: TokenName,
  pad_token: TokenName,
  unk_token: TokenName,
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish(),
});
type TokenizerConfig = z.infer<typeof TokenizerConfig>;

const TOKEN_NAMES = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const;

/** What the files of a checkpoint say of its tokenizer. */
export interface TokenizerFiles {
  readonly json: TokenizerJson;
  readonly config: TokenizerConfig;
  /** Jinja source and the file it came from; null when the checkpoint has none. */
  readonly template: { readonly source: string; readonly file: string } | null;
  /** `bos_token`, `eos_token`, `pad_token`, `unk_token`, as far as they are defined. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Over the bytes of every file read. */
  readonly sha256: string;
}

/** The text of a file; undefined: there is none. */
export type ReadText = (file: string) => Promise<string | undefined>;

const fromDisk: ReadText = async (file) => {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
};

/** @throws UserError `tokenizer/missing` without tokenizer.json, `tokenizer/damaged` naming the file and what is wrong in it. */
export async function readTokenizerFiles(folder: string, readText = fromDisk): Promise<TokenizerFiles> {
  const hash = createHash('sha256');
  const read = async (name: string): Promise<string | undefined> => {
    const text = await readText(path.join(folder, name));
    if (text !== undefined) hash.update(`${name}\0${text}\0`);
    return text;
  };
  const parse = async <T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const text = await read(name);
    return text === undefined ? undefined : parseFile(text, schema, path.join(folder, name));
  };

  const json = await parse('tokenizer.json', TokenizerJson);
  if (json === undefined) {
    throw new UserError(
      'tokenizer/missing',
      `${folder} has no tokenizer.json`,
      'Copy tokenizer.json from the model; a bare tokenizer.model (SentencePiece) must be converted to it first.',
    );
  }
  const config = (await parse('tokenizer_config.json', TokenizerConfig)) ?? {};
  const map = (await parse('special_tokens_map.json', TokenizerConfig)) ?? {};
  const specialTokens: Record<string, string> = {};
  for (const name of TOKEN_NAMES) {
    const token = config[name] ?? map[name];
    if (token) specialTokens[name] = typeof token === 'string' ? token : token.content;
  }

  let template: TokenizerFiles['template'] = null;
  const jinja = await read('chat_template.jinja');
  const wrapped = await parse('chat_template.json', z.looseObject({ chat_template: z.string() }));
  if (jinja !== undefined) template = { source: jinja, file: path.join(folder, 'chat_template.jinja') };
  else if (wrapped !== undefined) {
    template = { source: wrapped.chat_template, file: path.join(folder, 'chat_template.json') };
  } else if (config.chat_template) {
    const source = defaultTemplate(config.chat_template);
    if (source !== undefined) template = { source, file: path.join(folder, 'tokenizer_config.json') };
  }
  return { json, config, template, specialTokens, sha256: hash.digest('hex') };
}

/** A checkpoint may carry several templates by name. */
function defaultTemplate(templates: NonNullable<TokenizerConfig['chat_template']>): string | undefined {
  if (typeof templates === 'string') return templates;
  return (templates.find(({ name }) => name === 'default') ?? templates[0])?.template;
}

function parseFile<T>(text: string, schema: z.ZodType<T>, file: string): T {
  const damaged = (why: string, cause: unknown) =>
    new UserError('tokenizer/damaged', `${file}: ${why}`, 'Copy the file from the model again.', { cause });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(`not valid JSON (${cause instanceof Error ? cause.message : String(cause)})`, cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw damaged(
    `${issue === undefined || issue.path.length === 0 ? 'the document' : issue.path.join('.')}: ${issue?.message}`,
    parsed.error,
  );
}
