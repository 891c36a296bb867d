/** Runs one golden case of kind `tokenizer`: ids, decoding, chat rendering and assistant masks of a real tokenizer. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { findAssistantSpans, openTokenizer, spanTokens } from '#worker/data/index.ts';
import type { ChatMessage, Tokenizer } from '#worker/data/index.ts';
import type { Check } from './golden-case.ts';

const TextCase = z.object({
  text: z.string(),
  ids: z.array(z.number()),
  ids_with_special: z.array(z.number()),
  decoded: z.string().optional(),
  decoded_skip_special: z.string().optional(),
});
const ConversationCase = z.object({
  messages: z.array(z.object({ role: z.enum(['user', 'assistant', 'system']), content: z.string() })),
  add_generation_prompt: z.boolean(),
  error: z.string().optional(),
  rendered: z.string().optional(),
  ids: z.array(z.number()).optional(),
  assistant_spans_utf16: z.array(z.tuple([z.number(), z.number()])).optional(),
  assistant_mask: z.array(z.number()).optional(),
  closing_tokens: z.array(z.string()).optional(),
});
const TokenizerCase = z.object({
  kind: z.literal('tokenizer'),
  special_tokens: z.record(z.string(), z.string()),
  vocab_size_with_added: z.number(),
  has_chat_template: z.boolean(),
  texts: z.array(TextCase),
  template_variables: z.record(z.string(), z.unknown()).default({}),
  conversations: z.array(ConversationCase).default([]),
});

/** Collects comparisons under a few names; a name fails with its first difference. */
class Comparison {
  readonly #failed = new Map<string, number>();
  readonly differences: string[] = [];

  equal(name: string, actual: unknown, expected: unknown, where: string): void {
    const same = JSON.stringify(actual) === JSON.stringify(expected);
    this.#failed.set(name, (this.#failed.get(name) ?? 0) + (same ? 0 : 1));
    if (!same) {
      this.differences.push(
        `${name}, ${where}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`,
      );
    }
  }

  /** Equal everywhere is 0, anything else 1. */
  checks(): Check[] {
    return [...this.#failed].map(([name, failed]) => {
      const difference = failed > 0 ? 1 : 0;
      return { name, maxAbs: difference, maxRel: difference, limit: 0, ok: failed === 0 };
    });
  }
}

/**
 * @param caseFolder holds `case.json`.
 * @param packageFolder of the npm package the case names; its `models` folder holds the tokenizer files.
 * @param onDifference is told every difference in words.
 */
export async function checkTokenizerCase(
  caseFolder: string,
  packageFolder: string,
  onDifference: (difference: string) => void = () => undefined,
): Promise<Check[]> {
  const file = path.join(caseFolder, 'case.json');
  const golden = TokenizerCase.parse(JSON.parse(await readFile(file, 'utf8')));
  const tokenizer = await openTokenizer(path.join(packageFolder, 'models'));
  const compare = new Comparison();
  compare.equal('vocabulary size', tokenizer.vocabSize, golden.vocab_size_with_added, 'tokenizer');
  compare.equal('has chat template', tokenizer.hasChatTemplate, golden.has_chat_template, 'tokenizer');
  const ids = { bos_token: tokenizer.bosId, eos_token: tokenizer.eosId, pad_token: tokenizer.padId };
  for (const [name, id] of Object.entries(ids)) {
    const text = id === null ? undefined : tokenizer.decode([id]);
    compare.equal('special tokens', text, golden.special_tokens[name], name);
  }

  for (const [index, item] of golden.texts.entries()) checkText(tokenizer, item, `text ${index}`, compare);
  for (const [index, item] of golden.conversations.entries()) {
    checkConversation(tokenizer, item, golden.template_variables, `conversation ${index}`, compare);
  }
  compare.differences.forEach(onDifference);
  return compare.checks();
}

function checkText(
  tokenizer: Tokenizer,
  item: z.infer<typeof TextCase>,
  where: string,
  compare: Comparison,
): void {
  const plain = tokenizer.encode(item.text, { addSpecialTokens: false });
  const special = tokenizer.encode(item.text, { addSpecialTokens: true });
  compare.equal('ids', plain.ids, item.ids, where);
  compare.equal('ids with special', special.ids, item.ids_with_special, where);
  const decoded = item.decoded ?? item.text;
  compare.equal('decoded', tokenizer.decode(item.ids), decoded, where);
  const bare = tokenizer.decode(item.ids_with_special, { skipSpecialTokens: true });
  compare.equal('decoded without special', bare, item.decoded_skip_special ?? decoded, where);
  compare.equal('offsets cover the text', coversText(plain.offsets, item.text), true, where);
}

/** Offsets are in order, inside the text, and leave out nothing. */
function coversText(offsets: Int32Array, text: string): boolean {
  let reached = 0;
  for (let i = 0; i < offsets.length; i += 2) {
    const start = offsets[i] ?? -1;
    const end = offsets[i + 1] ?? -1;
    if (start > reached || end < start) return false;
    reached = Math.max(reached, end);
  }
  return reached === text.length;
}

function checkConversation(
  tokenizer: Tokenizer,
  item: z.infer<typeof ConversationCase>,
  variables: Readonly<Record<string, unknown>>,
  where: string,
  compare: Comparison,
): void {
  const render = (messages: readonly ChatMessage[]) =>
    tokenizer.renderChat(messages, { addGenerationPrompt: item.add_generation_prompt, variables });
  let rendered: string;
  try {
    rendered = render(item.messages);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    compare.equal('refused conversations', error.message, item.error ?? 'rendered', where);
    return;
  }
  compare.equal('rendered', rendered, item.rendered, where);
  const { ids, offsets } = tokenizer.encode(rendered, { addSpecialTokens: false });
  compare.equal('conversation ids', ids, item.ids, where);
  if (item.assistant_spans_utf16 === undefined) return;

  const spans = findAssistantSpans(item.messages, rendered, render);
  compare.equal(
    'assistant spans',
    spans.map(({ start, end }) => [start, end]),
    item.assistant_spans_utf16,
    where,
  );
  const { answer, closing } = spanTokens(spans, offsets, (index) => tokenizer.isAdded(ids[index] ?? -1));
  compare.equal('assistant mask', [...answer], item.assistant_mask, where);
  const closers = closing.map((index) => (index < 0 ? '' : tokenizer.decode([ids[index] ?? -1])));
  compare.equal('closing tokens', closers, item.closing_tokens, where);
}
