import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DatasetInspection } from '#core/contract/dataset.ts';
import { describeFile, inspectDataset, previewRow, previewRows } from './inspect.ts';
import type { ProcessOptions } from './processor.ts';
import { openTokenizer } from './tokenizer/tokenizer.ts';

const FIXTURE = path.join(import.meta.dirname, '../testing/golden-tokenizers-fixture/byte-level/models');

let folder: string;
let options: ProcessOptions;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'inspect-'));
  options = {
    tokenizer: await openTokenizer(FIXTURE),
    template: 'auto',
    lossOn: 'completion',
    maxLength: 40,
  };
});
afterAll(() => rm(folder, { recursive: true }));

async function put(name: string, lines: readonly string[]): Promise<{ path: string }> {
  await writeFile(path.join(folder, name), lines.join('\n'));
  return { path: path.join(folder, name) };
}
const pair = (question: string, answer: string) => JSON.stringify({ question, answer });

test('describes a file and its bad rows without a tokenizer', async () => {
  const file = await put('some.jsonl', [pair('a', 'b'), 'nonsense', pair('c', 'd')]);
  expect(await describeFile(file)).toMatchObject({
    fileFormat: 'jsonl',
    recordFormat: 'prompt-response',
    mapping: { prompt: 'question', response: 'answer' },
    columns: ['question', 'answer'],
    rows: 2,
    badRows: [{ row: 2, message: expect.stringMatching(/row 2 is not valid JSON/) as unknown }],
  });
});

test('counts tokens and reports everything odd with its rows', async () => {
  const train = await put('train.jsonl', [
    pair('One?', 'Yes.'),
    pair('Two?', ''),
    pair('One?', 'Yes.'),
    pair('Injected <|im_end|>?', 'Yes.'),
    'nonsense',
    pair('Long? '.repeat(30), 'Yes.'),
    pair('Long answer?', 'Yes. '.repeat(30)),
  ]);
  const held = await put('held.jsonl', [pair('Three?', 'No.'), pair('One?', 'Yes.')]);
  const inspection = await inspectDataset([train], { ...options, validation: [held] });
  expect(DatasetInspection.parse(inspection)).toEqual(inspection);
  expect(inspection.findings.map(({ severity, code, rows, count }) => [severity, code, rows, count])).toEqual(
    [
      ['warning', 'data/empty-answer', [2], 1],
      ['warning', 'data/special-token-in-text', [4], 1],
      ['error', 'data/malformed-row', [5], 1],
      ['info', 'data/truncated', [6, 7], 2],
      ['warning', 'data/no-trained-token', [6], 1],
      ['warning', 'data/duplicate', [3], 1],
      ['warning', 'data/leakage', [2], 1],
    ],
  );
  expect(inspection.findings.flatMap(({ code, hint }) => (hint === undefined ? [] : [[code, hint]]))).toEqual(
    [
      ['data/empty-answer', 'Fill in or delete the row, or map another column.'],
      ['data/malformed-row', expect.stringContaining('Correct or delete this row') as string],
    ],
  );
  expect(inspection.rows).toBe(5);
  expect(inspection.truncatedRows).toBe(2);
  expect(inspection.histogram.reduce((sum, { rows }) => sum + rows, 0)).toBe(5);
  expect(inspection.histogram.at(-1)?.upTo).toBeGreaterThanOrEqual(inspection.longest);
  expect(inspection.trainedTokens).toBeLessThan(inspection.tokens);
});

test('a long inspection lets the rest of the program have its turn', async () => {
  const file = await put(
    'long.jsonl',
    Array.from({ length: 1000 }, (_, index) => pair(`${index}? `.repeat(40), 'Yes. '.repeat(40))),
  );
  const start = performance.now();
  let [last, longest] = [start, 0];
  const turn = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  let at = setImmediate(function next() {
    turn();
    at = setImmediate(next);
  });
  await inspectDataset([file], options);
  clearImmediate(at);
  turn();
  expect(longest).toBeLessThan((last - start) / 4);
});

test('only the first rows of a finding are listed, all are counted', async () => {
  const file = await put(
    'many.jsonl',
    Array.from({ length: 30 }, (_, index) => pair(`${index}?`, index > 4 ? '' : 'a')),
  );
  const [finding] = (await inspectDataset([file], options)).findings;
  expect(finding).toMatchObject({ code: 'data/empty-answer', count: 25 });
  expect(finding?.rows).toHaveLength(20);
});

test('a preview shows each token with what becomes of it', async () => {
  const file = await put('preview.jsonl', [pair('One?', 'Yes. '.repeat(20)), pair('Two?', 'Größe 👋.')]);
  const { tokens } = await previewRow(file, 2, options);
  expect(tokens.map(({ text }) => text).join('')).toBe(
    '<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\nGröße 👋.<|im_end|>\n',
  );
  const trained = tokens.filter((token) => token.trained);
  expect(trained.map(({ text }) => text).join('')).toBe('Größe 👋.<|im_end|>');
  expect(tokens.filter(({ special }) => special)).toHaveLength(4);

  const long = await previewRow(file, 1, options);
  expect(long.tokens.map(({ truncated }) => truncated).indexOf(true)).toBe(40);
  expect(long.tokens.some(({ trained: isTrained, truncated }) => isTrained && truncated)).toBe(false);
});

test('previews of several rows name those that can not be used', async () => {
  const file = await put('rows.jsonl', [
    pair('1', 'a'),
    pair('2', ''),
    'nonsense',
    pair('4', 'd'),
    pair('5', 'e'),
  ]);
  const { rows, refused } = await previewRows(file, 2, 3, options);
  expect(rows.map(({ row }) => row)).toEqual([4]);
  expect(refused.map(({ row, error }) => [row, error.code])).toEqual([
    [2, 'data/empty-answer'],
    [3, 'data/malformed-row'],
  ]);
  await expect(previewRow(file, 9, options)).rejects.toMatchObject({ code: 'data/no-such-row' });
  await expect(previewRow(file, 2, options)).rejects.toMatchObject({ code: 'data/empty-answer' });
});

test('a template that never closes an answer is pointed out', async () => {
  const copy = path.join(folder, 'open-template');
  await cp(FIXTURE, copy, { recursive: true });
  await writeFile(
    path.join(copy, 'chat_template.jinja'),
    '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}',
  );
  const file = await put('open.jsonl', [pair('One?', 'Yes.')]);
  const { findings } = await inspectDataset([file], { ...options, tokenizer: await openTokenizer(copy) });
  expect(findings.map(({ code, rows }) => [code, rows])).toEqual([['data/no-closing-token', [1]]]);
});

test('a file of nothing but damaged rows is refused by its first row', async () => {
  const file = await put('damaged.jsonl', ['{"question":', '{"answer":']);
  await expect(describeFile(file)).rejects.toThrow(/row 1 is not valid JSON/);
});
