import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DataSpec } from '#core/contract/run-spec.ts';
import type { Dataset } from './dataset.ts';
import { prepareData } from './prepare.ts';
import type { PrepareOptions } from './prepare.ts';
import { IGNORED } from './processor.ts';
import { openTokenizer } from './tokenizer/tokenizer.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

const FIXTURE = path.join(import.meta.dirname, '../testing/golden-tokenizers-fixture/byte-level/models');

let tokenizer: Tokenizer;
let folder: string;
beforeAll(async () => (tokenizer = await openTokenizer(FIXTURE)));
beforeEach(async () => (folder = await mkdtemp(path.join(tmpdir(), 'prepare-'))));
afterEach(() => rm(folder, { recursive: true }));

type Row = Record<string, unknown>;
const pairs = (count: number, first = 0): Row[] =>
  Array.from({ length: count }, (_, index) => ({
    question: `What is ${first + index}?`,
    answer: `It is ${first + index}.`,
  }));

async function put(name: string, rows: readonly Row[]): Promise<{ path: string }> {
  await writeFile(path.join(folder, name), rows.map((row) => JSON.stringify(row)).join('\n'));
  return { path: name };
}

const prepare = (data: object, more: Partial<PrepareOptions> = {}) =>
  prepareData(DataSpec.parse(data), {
    tokenizer,
    cacheDir: path.join(folder, 'cache'),
    seed: 1,
    baseDir: folder,
    ...more,
  });

const textsOf = (dataset: Dataset) =>
  Array.from({ length: dataset.length }, (_, example) => tokenizer.decode([...dataset.read(example).ids]));
const cacheFiles = async () =>
  (await readdir(path.join(folder, 'cache'))).map((name) => path.join(folder, 'cache', name));

test('general data are a set of their own, neither trained on nor part of what the data are called', async () => {
  const train = [await put('a.jsonl', pairs(3))];
  const general = [await put('general.jsonl', [{ prompt: 'Say hello.', response: 'Hello.' }])];
  const prepared = await prepare({ train, general });
  expect(prepared.general && textsOf(prepared.general)).toEqual([
    '<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n',
  ]);
  expect(prepared.stats).toMatchObject({ trainExamples: 2, validationExamples: 1, generalExamples: 1 });
  expect(prepared.stats.files.map(({ path: file }) => path.basename(file))).toEqual(['a.jsonl']);
  expect(prepared.stats.generalFiles.map(({ path: file }) => path.basename(file))).toEqual(['general.jsonl']);
  prepared.close();
  const empty = [await put('empty.jsonl', [{ prompt: 'Nothing to say', response: '' }])];
  await expect(prepare({ train, general: empty })).rejects.toMatchObject({ code: 'data/general-empty' });
});

test('rows come back as tokens with the answers trained', async () => {
  const prepared = await prepare({ train: [await put('a.jsonl', pairs(3))], validation: { fraction: 0 } });
  expect(prepared.validation).toBeNull();
  expect(textsOf(prepared.train)[1]).toBe(
    '<|im_start|>user\nWhat is 1?<|im_end|>\n<|im_start|>assistant\nIt is 1.<|im_end|>\n',
  );
  const { ids, labels, trainedCount } = prepared.train.read(2);
  const trained = [...labels].filter((label) => label !== IGNORED);
  expect(tokenizer.decode(trained)).toBe('It is 2.<|im_end|>');
  expect(trainedCount).toBe(trained.length);
  expect(prepared.train.lengths[2]).toBe(ids.length);
  expect(prepared.train.origin(2)).toEqual({ path: path.join(folder, 'a.jsonl'), row: 3 });
  expect(prepared.stats).toMatchObject({ trainExamples: 3, validationExamples: 0, truncatedRows: 0 });
  prepared.close();
});

test('several files are joined in order, with mappings of their own', async () => {
  const second = {
    ...(await put('b.jsonl', [{ x: 'Hi', y: 'Hello' }])),
    mapping: { prompt: 'x', response: 'y' },
  };
  const data = { train: [await put('a.jsonl', pairs(2)), second], validation: { fraction: 0 } };
  const prepared = await prepare(data);
  expect(textsOf(prepared.train).map((text) => /assistant\n(.*)<\|im_end/.exec(text)?.[1])).toEqual([
    'It is 0.',
    'It is 1.',
    'Hello',
  ]);
  expect(prepared.train.origin(2)).toEqual({ path: path.join(folder, 'b.jsonl'), row: 1 });
  prepared.close();
});

test('the split depends on seed and content, not on the place of a row', async () => {
  const rows = pairs(400);
  const forward = await prepare({ train: [await put('f.jsonl', rows)], validation: { fraction: 0.1 } });
  const backward = await prepare({
    train: [await put('b.jsonl', rows.toReversed())],
    validation: { fraction: 0.1 },
  });
  const other = await prepare({ train: [{ path: 'f.jsonl' }], validation: { fraction: 0.1 } }, { seed: 2 });
  const own = await prepare(
    { train: [{ path: 'f.jsonl' }], validation: { fraction: 0.1, seed: 1 } },
    { seed: 2 },
  );
  const held = [forward, backward, other, own].map(({ validation }) =>
    validation === null ? [] : textsOf(validation),
  );
  expect(held[0]?.length).toBeGreaterThan(20);
  expect(held[0]?.length).toBeLessThan(60);
  expect(held[1]?.toSorted()).toEqual(held[0]?.toSorted());
  expect(held[2]?.toSorted()).not.toEqual(held[0]?.toSorted());
  // A seed of its own holds the same rows out whatever the seed of the run.
  expect(held[3]).toEqual(held[0]);
  expect(new Set([...textsOf(forward.train), ...(held[0] ?? [])]).size).toBe(400);
  for (const prepared of [forward, backward, other, own]) prepared.close();
});

test('a small set holds out at least one row', async () => {
  const prepared = await prepare({
    train: [await put('a.jsonl', pairs(3))],
    validation: { fraction: 0.0001 },
  });
  expect([prepared.train.length, prepared.validation?.length]).toEqual([2, 1]);
  prepared.close();
});

test('validation files are searched for training rows', async () => {
  const data = {
    train: [await put('train.jsonl', pairs(5))],
    validation: { files: [await put('held.jsonl', pairs(4, 3))] },
  };
  const prepared = await prepare(data);
  expect(prepared.validation?.length).toBe(4);
  const leak = prepared.findings.find(({ code }) => code === 'data/leakage');
  expect(leak).toMatchObject({ count: 2, rows: [1, 2], severity: 'warning' });
  expect(leak?.message).toMatch(/^held\.jsonl: /);
  prepared.close();
});

test('a cache is reused, built anew for other options, and rebuilt when damaged', async () => {
  const data = { train: [await put('a.jsonl', pairs(50))], validation: { fraction: 0 } };
  const run = async (more: object = {}) => {
    const prepared = await prepare({ ...data, ...more });
    const result = {
      how: prepared.stats.files[0]?.cache,
      texts: textsOf(prepared.train),
      findings: prepared.findings,
    };
    prepared.close();
    return result;
  };
  const built = await run();
  expect(built.how).toBe('built');
  expect(await run()).toEqual({ ...built, how: 'reused' });
  const [file = ''] = await cacheFiles();
  expect((await run({ maxLength: 30 })).how).toBe('built');
  expect((await run({ lossOn: 'all' })).how).toBe('built');
  expect(await cacheFiles()).toHaveLength(3);

  const whole = await readFile(file);
  for (const place of [3, 100, whole.length - 60, whole.length - 5]) {
    const damaged = Buffer.from(whole);
    damaged[place] = (damaged[place] ?? 0) ^ 1;
    await writeFile(file, damaged);
    expect(await run()).toEqual({ ...built, how: 'rebuilt' });
  }
  for (const length of [0, 20, whole.length - 1]) {
    await writeFile(file, whole.subarray(0, length));
    expect(await run()).toEqual({ ...built, how: 'rebuilt' });
  }
  expect(await readFile(file)).toEqual(whole);
});

test('an aborted preparation leaves no file behind', async () => {
  const data = { train: [await put('a.jsonl', pairs(600))], validation: { fraction: 0 } };
  const abort = new AbortController();
  const attempt = prepare(data, { signal: abort.signal, onProgress: () => abort.abort() });
  await expect(attempt).rejects.toThrow(/abort/i);
  expect(await cacheFiles()).toEqual([]);
});

test('rows with nothing to learn are left out and reported, also from the cache', async () => {
  const rows = [
    ...pairs(2),
    { question: 'Empty?', answer: '' },
    { question: 'Long? '.repeat(40), answer: 'Yes' },
    ...pairs(1),
  ];
  const data = { train: [await put('a.jsonl', rows)], validation: { fraction: 0 }, maxLength: 60 };
  for (const how of ['built', 'reused']) {
    const prepared = await prepare(data);
    expect(prepared.stats.files[0]?.cache).toBe(how);
    expect(prepared.train.length).toBe(3);
    const found = prepared.findings.map(({ code, rows: at }) => [code, at]);
    expect(found).toEqual([
      ['data/empty-answer', [3]],
      ['data/truncated', [4]],
      ['data/no-trained-token', [4]],
      ['data/duplicate', [5]],
    ]);
    prepared.close();
  }
});

test.each<[string, Row[], object, string, RegExp, RegExp]>([
  [
    'no answer anywhere',
    [{ question: 'Q', answer: '' }],
    { mapping: { prompt: 'question', response: 'answer' } },
    'data/nothing-to-train',
    /no trained token \(1 × a\.jsonl: row 1: "answer" is empty/,
    /mapping/,
  ],
  [
    'no answer within maxLength',
    [{ question: 'Long? '.repeat(40), answer: 'Yes' }],
    {},
    'data/nothing-to-train',
    /after the cut to 40 tokens/,
    /raise it/,
  ],
  [
    'a wrong role',
    [
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'bot', content: 'b' },
        ],
      },
    ],
    {},
    'data/wrong-role',
    /^a\.jsonl: row 1: messages\[1\]\.role is 'bot'/,
    /role\.bot=assistant/,
  ],
  [
    'unknown columns',
    [{ foo: 'a', bar: 'b' }],
    {},
    'data/unknown-format',
    /not recognised: foo, bar/,
    /--mapping prompt=foo --mapping response=bar, .*"mapping": \{"prompt": "foo"/,
  ],
])('refuses %s', async (_name, rows, more, code, message, hint) => {
  const file = { ...(await put('a.jsonl', rows)), ...more };
  const attempt = prepare({ train: [file], maxLength: 40 });
  await expect(attempt).rejects.toThrow(message);
  await expect(attempt).rejects.toMatchObject({ code, hint: expect.stringMatching(hint) as unknown });
  const left = await readdir(folder, { recursive: true });
  expect(left.filter((name) => name.endsWith('.partial'))).toEqual([]);
});

test('a tokenizer of another model is refused', async () => {
  const data = { train: [await put('a.jsonl', pairs(1))] };
  await expect(prepare(data, { modelVocabSize: 100 })).rejects.toThrow(
    /a\.jsonl: row 1: token \d+ is outside the model's vocabulary of 100/,
  );
});
