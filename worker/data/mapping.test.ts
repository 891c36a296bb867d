import { expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { checkMapping, detectFormat, toConversation } from './mapping.ts';
import type { Mapping } from './mapping.ts';

type Row = Record<string, unknown>;
const sample = (...values: Row[]) => values.map((value, index) => ({ row: index + 1, value }));
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const talk = [user('hi'), assistant('hello')];

test.each<[string, Row, string, Mapping]>([
  [
    'Alpaca',
    { instruction: 'i', input: '', output: 'o' },
    'instruction',
    { prompt: 'instruction', input: 'input', response: 'output' },
  ],
  [
    'instruction with answer only',
    { instruction: 'i', input: '', output: '', answer: '3' },
    'instruction',
    { prompt: 'instruction', input: 'input', response: 'answer' },
  ],
  [
    'pairs',
    { prompt: 'p', response: 'r', id: 3 },
    'prompt-response',
    { prompt: 'prompt', response: 'response' },
  ],
  [
    'completions with system',
    { prompt: 'p', completion: 'r', system: 's' },
    'prompt-response',
    { prompt: 'prompt', response: 'completion', system: 'system' },
  ],
  [
    'questions',
    { question: 'q', answer: 'a' },
    'prompt-response',
    { prompt: 'question', response: 'answer' },
  ],
  ['messages', { messages: talk }, 'messages', { messages: 'messages' }],
  ['ShareGPT', { conversations: [{ from: 'human', value: 'h' }] }, 'sharegpt', { messages: 'conversations' }],
  ['text', { text: 't' }, 'text', { text: 'text' }],
  ['unknown', { foo: 'f', bar: 'b' }, 'unknown', {}],
])('recognises %s', (_name, row, format, mapping) => {
  const detected = detectFormat(sample(row, row));
  expect(detected.format).toBe(format);
  expect(detected.mapping).toEqual(mapping);
  expect(detected.why).not.toBe('');
});

test('confidence is the share of rows that fit', () => {
  const detected = detectFormat(sample({ text: 'a' }, { text: 'b' }, { text: 'c' }, { other: 1 }));
  expect(detected.confidence).toBe(0.75);
});

test.each<[string, Row, Mapping, unknown[]]>([
  [
    'an instruction with input',
    { i: 'Sum up.', x: 'Text', o: 'S' },
    { prompt: 'i', input: 'x', response: 'o' },
    [user('Sum up.\n\nText'), assistant('S')],
  ],
  [
    'an instruction without input',
    { i: 'Hi', x: '', o: 'Yo' },
    { prompt: 'i', input: 'x', response: 'o' },
    [user('Hi'), assistant('Yo')],
  ],
  ['numbers', { q: '1+1', a: 2n }, { prompt: 'q', response: 'a' }, [user('1+1'), assistant('2')]],
  [
    'a system column',
    { q: 'Q', a: 'A', s: 'S' },
    { prompt: 'q', response: 'a', system: 's' },
    [{ role: 'system', content: 'S' }, user('Q'), assistant('A')],
  ],
  [
    'ShareGPT',
    {
      c: [
        { from: 'human', value: 'h' },
        { from: 'gpt', value: 'g' },
      ],
    },
    { messages: 'c' },
    [user('h'), assistant('g')],
  ],
  [
    'parts of text',
    {
      m: [
        user('a'),
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'b' },
            { type: 'text', text: 'c' },
          ],
        },
      ],
    },
    { messages: 'm' },
    [user('a'), assistant('bc')],
  ],
  [
    'a mapped role',
    { m: [user('a'), { role: 'bot', content: 'b' }] },
    { messages: 'm', 'role.bot': 'assistant' },
    [user('a'), assistant('b')],
  ],
])('reads %s', (_name, value, mapping, messages) => {
  expect(toConversation({ row: 1, value }, mapping)).toEqual({ kind: 'conversation', messages });
});

test('reads plain text', () => {
  expect(toConversation({ row: 1, value: { t: 'words' } }, { text: 't' })).toEqual({
    kind: 'text',
    text: 'words',
  });
});

const pair = { prompt: 'q', response: 'a' };
test.each<[string, Row, Mapping, string, string]>([
  [
    'a wrong role',
    { messages: [user('a'), assistant('b'), user('c'), { role: 'bot', content: 'd' }] },
    { messages: 'messages' },
    'data/wrong-role',
    "row 1,284: messages[3].role is 'bot'; expected user, assistant or system",
  ],
  [
    'a role that is no text',
    { messages: [{ role: 7, content: 'd' }] },
    { messages: 'messages' },
    'data/wrong-role',
    'row 1,284: messages[0].role is 7; expected user, assistant or system',
  ],
  [
    'an empty answer',
    { q: 'Q', a: ' ' },
    pair,
    'data/empty-answer',
    'row 1,284: "a" is empty; expected the answer',
  ],
  ['a missing answer', { q: 'Q' }, pair, 'data/empty-answer', 'row 1,284: "a" is empty; expected the answer'],
  [
    'an empty prompt',
    { q: '', a: 'A' },
    pair,
    'data/empty-prompt',
    'row 1,284: "q" is empty; expected the prompt',
  ],
  [
    'an empty answer in messages',
    { m: [user('a'), assistant('')] },
    { messages: 'm' },
    'data/empty-answer',
    'row 1,284: "m[1].content" is empty; expected the answer',
  ],
  [
    'no answer',
    { m: [user('a')] },
    { messages: 'm' },
    'data/no-answer',
    'row 1,284: "m" has no message of the assistant, so there is no answer to learn',
  ],
  [
    'no messages',
    { m: [] },
    { messages: 'm' },
    'data/messages',
    'row 1,284: "m" is an empty list; expected a list of messages',
  ],
  [
    'a message that is text',
    { m: ['hi'] },
    { messages: 'm' },
    'data/messages',
    'row 1,284: m[0] is a string; expected an object',
  ],
  [
    'a nested field',
    { q: { x: 1 }, a: 'A' },
    pair,
    'data/not-text',
    'row 1,284: "q" is an object; expected text',
  ],
  [
    'an image part',
    { m: [{ role: 'user', content: [{ type: 'image' }] }] },
    { messages: 'm' },
    'data/not-text',
    "row 1,284: m[0].content[0] is not a text part; images and tool calls can't be trained on",
  ],
  [
    'an empty text',
    { t: '' },
    { text: 't' },
    'data/empty-text',
    'row 1,284: "t" is empty; expected the text',
  ],
])('refuses %s', (_name, value, mapping, code, message) => {
  const attempt = () => toConversation({ row: 1284, value }, mapping);
  expect(attempt).toThrow(UserError);
  expect(attempt).toThrow(expect.objectContaining({ code, message }));
});

test('a mapping by hand may use other names of the fields', () => {
  expect(checkMapping({ question: 'q', answer: 'a' }, ['q', 'a'], 'f')).toEqual(pair);
});

test.each<[string, Mapping, RegExp]>([
  ['an unknown field', { promt: 'q', response: 'a' }, /unknown field "promt"/],
  ['an unknown column', { prompt: 'x', response: 'a' }, /prompt=x names a column the file lacks/],
  ['a lone prompt', { prompt: 'q' }, /incomplete/],
  ['a wrong role', { prompt: 'q', response: 'a', 'role.bot': 'robot' }, /"role\.bot" is "robot"/],
])('refuses a mapping with %s', (_name, mapping, message) => {
  expect(() => checkMapping(mapping, ['q', 'a'], 'data.jsonl')).toThrow(message);
});
