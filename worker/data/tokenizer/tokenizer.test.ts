import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTokenizer } from './tokenizer.ts';

const FIXTURE = path.join(import.meta.dirname, '../../testing/golden-tokenizers-fixture/byte-level/models');

let folder: string;
beforeAll(async () => (folder = await mkdtemp(path.join(tmpdir(), 'tokenizer-'))));
afterAll(() => rm(folder, { recursive: true }));

/** A copy of the fixture with some files replaced; null removes one. */
async function changed(name: string, files: Record<string, string | null>): Promise<string> {
  const copy = path.join(folder, name);
  await cp(FIXTURE, copy, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    await (content === null ? rm(path.join(copy, file)) : writeFile(path.join(copy, file), content));
  }
  return copy;
}

const conversation = [{ role: 'user', content: 'Hi' }] as const;

test('offsets point at the characters of each token', async () => {
  const tokenizer = await openTokenizer(FIXTURE);
  const text = 'The answer is 4.<|im_end|>';
  const { ids, offsets } = tokenizer.encode(text, { addSpecialTokens: false });
  const parts = ids.map((_, index) => text.slice(offsets[2 * index], offsets[2 * index + 1]));
  expect(parts).toEqual(['The', ' answer', ' is', ' ', '4', '.', '<|im_end|>']);
});

test('all bytes of a character carry its offsets, before normalisation', async () => {
  const tokenizer = await openTokenizer(FIXTURE);
  const { offsets } = tokenizer.encode('x👋e\u0301', { addSpecialTokens: false });
  const pairs = Array.from({ length: offsets.length / 2 }, (_, i) => [offsets[2 * i], offsets[2 * i + 1]]);
  expect(pairs[0]).toEqual([0, 1]);
  expect(pairs.slice(1, 5)).toEqual([
    [1, 3],
    [1, 3],
    [1, 3],
    [1, 3],
  ]);
  expect(pairs.at(-1)).toEqual([3, 5]);
});

test('special tokens in a text are found', async () => {
  const tokenizer = await openTokenizer(FIXTURE);
  expect(tokenizer.specialTokensIn('a <|im_end|> b <|im_end|> <tool>')).toEqual(['<|im_end|>']);
});

test('an id outside the vocabulary is refused', async () => {
  const tokenizer = await openTokenizer(FIXTURE);
  expect(() => tokenizer.decode([5, 9999])).toThrow(/token 9999 is not in the vocabulary/);
});

test('a missing or damaged tokenizer is named', async () => {
  const whole = await readFile(path.join(FIXTURE, 'tokenizer.json'), 'utf8');
  const check = async (name: string, files: Record<string, string | null>, code: string, message: RegExp) => {
    const attempt = openTokenizer(await changed(name, files));
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toMatchObject({ code });
  };
  await check('missing', { 'tokenizer.json': null }, 'tokenizer/missing', /has no tokenizer\.json/);
  await check(
    'cut',
    { 'tokenizer.json': whole.slice(0, 500) },
    'tokenizer/damaged',
    /tokenizer\.json: not valid JSON/,
  );
  await check(
    'no-model',
    { 'tokenizer.json': '{"added_tokens":[]}' },
    'tokenizer/damaged',
    /tokenizer\.json: model/,
  );
  const odd = JSON.stringify({ ...JSON.parse(whole), normalizer: { type: 'Mystery' } });
  await check('odd', { 'tokenizer.json': odd }, 'tokenizer/damaged', /Mystery/);
  await check(
    'config',
    { 'tokenizer_config.json': '{"eos_token": 3}' },
    'tokenizer/damaged',
    /tokenizer_config\.json: eos_token/,
  );
});

test('chat_template.jinja goes before chat_template.json, and that before tokenizer_config.json', async () => {
  const render = async (name: string, files: Record<string, string>) =>
    (await openTokenizer(await changed(name, files))).renderChat(conversation);
  const json = JSON.stringify({ chat_template: 'from json' });
  expect(await render('jinja', { 'chat_template.jinja': 'from jinja', 'chat_template.json': json })).toBe(
    'from jinja',
  );
  expect(await render('json', { 'chat_template.json': json })).toBe('from json');
  expect(await render('config', {})).toContain('<|im_start|>user\nHi<|im_end|>');
  const named = {
    chat_template: [
      { name: 'tool_use', template: 'T' },
      { name: 'default', template: 'D' },
    ],
  };
  expect(await render('named', { 'tokenizer_config.json': JSON.stringify(named) })).toBe('D');
});

test('the digest covers the template', async () => {
  const one = await openTokenizer(await changed('one', { 'chat_template.jinja': '1' }));
  const two = await openTokenizer(await changed('two', { 'chat_template.jinja': '2' }));
  expect(one.sha256).not.toBe(two.sha256);
});

test.each<[string, string, string, RegExp]>([
  ['does not parse', '{% for %}', 'template/invalid', /not valid Jinja/],
  ['fails', '{{ messages.nothing.here() }}', 'template/failed', /it fails/],
  ['objects', '{{ raise_exception("roles must alternate") }}', 'template/refused', /roles must alternate/],
  ['counts too far', '{% for i in range(10 ** 9) %}x{% endfor %}', 'template/limit', /stopped/],
  [
    'loops in loops',
    '{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}',
    'template/limit',
    /does not come to an end/,
  ],
  [
    'doubles a text',
    '{% set ns = namespace(s="x") %}{% for i in range(27) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}',
    'template/limit',
    /writes more than/,
  ],
])('a template that %s is stopped', async (name, template, code, message) => {
  const copy = await changed(`template ${name}`, { 'chat_template.jinja': template });
  const attempt = async () => (await openTokenizer(copy)).renderChat(conversation);
  await expect(attempt()).rejects.toThrow(message);
  await expect(attempt()).rejects.toMatchObject({ code });
});

test('dates in templates are fixed', async () => {
  const copy = await changed('date', { 'chat_template.jinja': '{{ strftime_now("%d %b %Y") }}' });
  expect((await openTokenizer(copy)).renderChat(conversation)).toBe('26 Jul 2024');
});

test('strip takes the characters it is given', async () => {
  const template =
    '{{ "..a.".lstrip(".") + "|" + "ab ".rstrip("b ") + "|" + "xax".strip("x") + "|" + " b ".strip() }}';
  const copy = await changed('strip', { 'chat_template.jinja': template });
  expect((await openTokenizer(copy)).renderChat(conversation)).toBe('a.|a|a|b');
});

test('an id that is no whole number is refused by its token', async () => {
  const json = {
    model: { type: 'BPE', vocab: { a: 0, b: 0.5 }, merges: [] },
  };
  const readText = (file: string) =>
    Promise.resolve(file.endsWith('tokenizer.json') ? JSON.stringify(json) : undefined);
  await expect(openTokenizer('somewhere', readText)).rejects.toThrow('gives "b" the id 0.5');
});
