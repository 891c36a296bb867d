import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findAssistantSpans } from './assistant-spans.ts';
import type { ChatMessage } from './mapping.ts';
import { IGNORED, renderPlain, toExample, tokenizeExample } from './processor.ts';
import type { ProcessOptions } from './processor.ts';
import { openTokenizer } from './tokenizer/tokenizer.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

const FIXTURES = path.join(import.meta.dirname, '../testing/golden-tokenizers-fixture');

let folder: string;
let byteLevel: Tokenizer;
let sentencePiece: Tokenizer;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'processor-'));
  byteLevel = await openTokenizer(path.join(FIXTURES, 'byte-level/models'));
  sentencePiece = await openTokenizer(path.join(FIXTURES, 'sentencepiece-style/models'));
});
afterAll(() => rm(folder, { recursive: true }));

const messages: ChatMessage[] = [
  { role: 'system', content: 'Answer briefly.' },
  { role: 'user', content: 'Name a colour.' },
  { role: 'assistant', content: 'Blue.' },
  { role: 'user', content: 'Repeat: Blue.' },
  { role: 'assistant', content: 'Blue.' },
];

function trainedText(
  tokenizer: Tokenizer,
  items: readonly ChatMessage[],
  more: Partial<ProcessOptions> = {},
): string[] {
  const options: ProcessOptions = {
    tokenizer,
    template: 'auto',
    lossOn: 'completion',
    maxLength: 512,
    ...more,
  };
  const { ids, labels } = toExample(
    tokenizeExample({ kind: 'conversation', messages: items }, options),
    options.maxLength,
  );
  const runs: number[][] = [];
  for (const [index, label] of labels.entries()) {
    if (label === IGNORED) continue;
    expect(label).toBe(ids[index]);
    if (index === 0 || labels[index - 1] === IGNORED) runs.push([]);
    runs.at(-1)?.push(label);
  }
  return runs.map((run) => tokenizer.decode(run));
}

test('every answer and the token that closes it is trained, and nothing else', () => {
  expect(trainedText(byteLevel, messages)).toEqual(['Blue.<|im_end|>', 'Blue.<|im_end|>']);
});

test('loss on all trains every token but the first', () => {
  const [run] = trainedText(byteLevel, messages, { lossOn: 'all' });
  expect(`<|im_start|>${run}`).toBe(byteLevel.renderChat(messages));
});

test('without a template: prompts end in a line break, answers in the end token', () => {
  expect(renderPlain(messages, '</s>').text).toBe(
    'Answer briefly.\nName a colour.\nBlue.</s>Repeat: Blue.\nBlue.</s>',
  );
  expect(trainedText(sentencePiece, messages, { template: 'none' })).toEqual(['Blue.</s>', 'Blue.</s>']);
  const options = { tokenizer: sentencePiece, template: 'none', lossOn: 'completion', maxLength: 9 } as const;
  const { ids } = tokenizeExample({ kind: 'conversation', messages }, options);
  expect(ids[0]).toBe(sentencePiece.bosId);
});

test('a plain text is trained as a whole, the end token included', () => {
  const options = {
    tokenizer: sentencePiece,
    template: 'auto',
    lossOn: 'completion',
    maxLength: 100,
  } as const;
  const { ids, labels, trainedCount } = toExample(
    tokenizeExample({ kind: 'text', text: 'The dog sleeps.' }, options),
    100,
  );
  expect(ids[0]).toBe(sentencePiece.bosId);
  expect(ids.at(-1)).toBe(sentencePiece.eosId);
  expect([...labels]).toEqual([IGNORED, ...ids.slice(1)]);
  expect(trainedCount).toBe(ids.length - 1);
});

test('cutting removes the end and is reported', () => {
  const options = { tokenizer: byteLevel, template: 'auto', lossOn: 'completion', maxLength: 512 } as const;
  const tokenized = tokenizeExample({ kind: 'conversation', messages }, options);
  const whole = toExample(tokenized, 512);
  const cut = toExample(tokenized, 12);
  expect(whole.truncated).toBe(false);
  expect(cut).toMatchObject({ truncated: true, fullLength: whole.ids.length, trainedCount: 0 });
  expect(cut.ids).toEqual(whole.ids.slice(0, 12));
});

test('an id beyond the embedding of the model is refused', () => {
  const vocabulary = { modelVocabSize: 300 };
  expect(() => trainedText(byteLevel, messages, vocabulary)).toThrow(/outside the model's vocabulary of 300/);
  expect(trainedText(byteLevel, messages, { modelVocabSize: byteLevel.idLimit })).toHaveLength(2);
});

test('equal text before an answer is not taken for it', () => {
  const render = (items: readonly ChatMessage[]) => items.map(({ content }) => `[${content}]`).join('');
  const items: ChatMessage[] = [
    { role: 'user', content: 'yes' },
    { role: 'assistant', content: 'yes' },
    { role: 'assistant', content: '[yes]' },
  ];
  expect(findAssistantSpans(items, render(items), render)).toEqual([
    { start: 6, end: 9 },
    { start: 11, end: 16 },
  ]);
});

test('a template that drops earlier thoughts leaves the answers after them', () => {
  const render = (items: readonly ChatMessage[]) =>
    items
      .map(({ content }, index) => {
        const [thought = '', answer] = content.includes('</think>')
          ? content.split('</think>')
          : [undefined, content];
        const kept =
          index === items.length - 1 && thought !== ''
            ? `<think>\n${thought.replace('<think>', '').trim()}\n</think>\n\n`
            : '';
        return `<${kept}${(answer ?? '').trim()}>`;
      })
      .join('\n');
  const items: ChatMessage[] = [
    { role: 'user', content: ' q ' },
    { role: 'assistant', content: '<think>\nhm\n</think>\n\n one ' },
    { role: 'assistant', content: '<think>\nwell\n</think>\n\ntwo' },
  ];
  const rendered = render(items);
  const texts = findAssistantSpans(items, rendered, render).map(({ start, end }) =>
    rendered.slice(start, end),
  );
  expect(texts).toEqual(['one', '<think>\nwell\n</think>\n\ntwo']);
});

test('a template that rewrites answers is refused', () => {
  const render = (items: readonly ChatMessage[]) =>
    items.map(({ content }) => content.toUpperCase().slice(0, 3)).join();
  const items: ChatMessage[] = [{ role: 'assistant', content: 'lower case' }];
  expect(() => findAssistantSpans(items, render(items), render)).toThrow(
    expect.objectContaining({ code: 'template/answer-not-found' }),
  );
});

test('a template without closing token trains the answer alone', async () => {
  const copy = path.join(folder, 'no-closing');
  await cp(path.join(FIXTURES, 'byte-level/models'), copy, { recursive: true });
  await writeFile(
    path.join(copy, 'chat_template.jinja'),
    '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}',
  );
  expect(trainedText(await openTokenizer(copy), messages)).toEqual([' Blue.', ' Blue.']);
});
