/** From a conversation to token ids and labels. */
import { UserError } from '#core/contract/errors.ts';
import { findAssistantSpans } from './assistant-spans.ts';
import type { Span } from './assistant-spans.ts';
import type { ChatMessage, Conversation, PlainText } from './mapping.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

/** A label that is not trained, as in Hugging Face data sets. */
export const IGNORED = -100;

/** How a text becomes tokens and labels. */
export interface ProcessOptions {
  readonly tokenizer: Tokenizer;
  /** `auto`: the checkpoint's chat template if it has one; `none`: {@link renderPlain}. */
  readonly template: 'auto' | 'none';
  /** `completion`: only the answers and the token that closes each; `all`: everything. */
  readonly lossOn: 'completion' | 'all';
  /** Tokens; what is beyond is cut off. */
  readonly maxLength: number;
  /** Rows of the model's embedding; ids from here on are refused. Without it nothing is checked. */
  readonly modelVocabSize?: number | undefined;
}

/** A row as it is trained on. */
export interface Example {
  /** Cut to `maxLength`. */
  readonly ids: readonly number[];
  /** Per id: the id itself where it is trained, else −100. Not shifted. The first is never trained: nothing predicts it. */
  readonly labels: Int32Array;
  readonly trainedCount: number;
  /** Tokens before the cut. */
  readonly fullLength: number;
  readonly truncated: boolean;
}

/** The whole text of an example as the model reads it, before the cut, for previews. */
export interface TokenizedText {
  readonly text: string;
  readonly ids: readonly number[];
  readonly offsets: Int32Array;
  /** 1 = trained. */
  readonly trained: Uint8Array;
  /** Answers that no special token closes: from these the model doesn't learn to stop. */
  readonly openAnswers: number;
}

/**
 * Joins a conversation without a chat template: every prompt and system text is followed by a line break, every answer by the
 * end token (a line break where the vocabulary has none).
 */
export function renderPlain(
  messages: readonly ChatMessage[],
  eosToken: string | null,
): { text: string; spans: Span[] } {
  let text = '';
  const spans: Span[] = [];
  for (const { role, content } of messages) {
    if (role === 'assistant') {
      spans.push({ start: text.length, end: text.length + content.length });
      text += content + (eosToken ?? '\n');
    } else {
      text += `${content}\n`;
    }
  }
  return { text, spans };
}

/**
 * Which tokens belong to the answers.
 * @param offsets pairs of UTF-16 positions in the text the spans refer to.
 * @param isAdded whether the token at an index is an added token (only these close an answer).
 * @returns `answer`: per token 1 where its characters overlap a span; `closing`: per span the index of the added token right
 * after it, or −1. Closing tokens are not part of `answer`.
 */
export function spanTokens(
  spans: readonly Span[],
  offsets: Int32Array,
  isAdded: (index: number) => boolean,
): { answer: Uint8Array; closing: number[] } {
  const count = offsets.length / 2;
  const answer = new Uint8Array(count);
  const closing: number[] = spans.map(() => -1);
  for (let index = 0; index < count; index++) {
    const start = offsets[2 * index] ?? 0;
    const end = offsets[2 * index + 1] ?? 0;
    for (const [which, span] of spans.entries()) {
      if (start < span.end && end > span.start) answer[index] = 1;
      if (start === span.end && end > start && closing[which] === -1 && isAdded(index))
        closing[which] = index;
    }
  }
  return { answer, closing };
}

/**
 * Renders and tokenizes one example and marks the trained tokens, without cutting it.
 * @throws UserError when the template refuses the conversation or an id is outside the model's vocabulary.
 */
export function tokenizeExample(item: Conversation | PlainText, options: ProcessOptions): TokenizedText {
  const { tokenizer, lossOn } = options;
  if (item.kind === 'text') {
    // A text is trained as a whole, and ends with the end token so that the model learns to stop.
    const text = item.text + (tokenizer.eosToken ?? '');
    const encoded = tokenizer.encode(text, { addSpecialTokens: true });
    return whole(text, encoded, options);
  }
  const chat = options.template === 'auto' && tokenizer.hasChatTemplate;
  const render = (messages: readonly ChatMessage[]) => tokenizer.renderChat(messages);
  const plain = chat ? undefined : renderPlain(item.messages, tokenizer.eosToken);
  const text = plain?.text ?? render(item.messages);
  // A chat template writes the start token itself.
  const encoded = tokenizer.encode(text, { addSpecialTokens: !chat });
  if (lossOn === 'all') return whole(text, encoded, options);

  const spans = plain?.spans ?? findAssistantSpans(item.messages, text, render);
  checkIds(encoded.ids, options);
  const { answer, closing } = spanTokens(spans, encoded.offsets, (index) =>
    tokenizer.isAdded(encoded.ids[index] ?? -1),
  );
  for (const index of closing) if (index >= 0) answer[index] = 1;
  if (answer.length > 0) answer[0] = 0;
  const openAnswers = closing.filter((index) => index < 0).length;
  return { text, ids: encoded.ids, offsets: encoded.offsets, trained: answer, openAnswers };
}

function whole(
  text: string,
  encoded: { readonly ids: readonly number[]; readonly offsets: Int32Array },
  options: ProcessOptions,
): TokenizedText {
  checkIds(encoded.ids, options);
  const trained = new Uint8Array(encoded.ids.length).fill(1);
  trained[0] = 0;
  return {
    text,
    ids: encoded.ids,
    // Offsets are computed only if a preview asks: not every tokenizer has them.
    get offsets() {
      return encoded.offsets;
    },
    trained,
    openAnswers: 0,
  };
}

function checkIds(ids: readonly number[], { modelVocabSize }: ProcessOptions): void {
  if (modelVocabSize === undefined) return;
  const bad = ids.find((id) => id >= modelVocabSize);
  if (bad === undefined) return;
  throw new UserError(
    'data/id-out-of-vocabulary',
    `token ${bad} is outside the model's vocabulary of ${modelVocabSize.toLocaleString('en-US')}`,
    'The tokenizer belongs to another model: use the tokenizer files of this checkpoint.',
  );
}

/** Cuts a tokenized text to `maxLength` and turns the marks into labels. */
export function toExample(tokenized: TokenizedText, maxLength: number): Example {
  const ids = tokenized.ids.slice(0, maxLength);
  const labels = new Int32Array(ids.length).fill(IGNORED);
  let trainedCount = 0;
  for (const [index, id] of ids.entries()) {
    if (tokenized.trained[index] !== 1) continue;
    labels[index] = id;
    trainedCount += 1;
  }
  return {
    ids,
    labels,
    trainedCount,
    fullLength: tokenized.ids.length,
    truncated: tokenized.ids.length > maxLength,
  };
}
