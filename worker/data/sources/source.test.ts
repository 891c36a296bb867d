import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { openSource } from './source.ts';
import { MAX_ROW_BYTES } from './source-row.ts';
import type { SourceRow } from './source-row.ts';

let folder: string;
beforeAll(async () => (folder = await mkdtemp(path.join(tmpdir(), 'source-'))));
afterAll(() => rm(folder, { recursive: true }));

async function put(name: string, content: string | Uint8Array): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, content);
  return file;
}

async function collect(rows: AsyncIterable<SourceRow>): Promise<SourceRow[]> {
  const all: SourceRow[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

async function read(file: string): Promise<SourceRow[]> {
  const source = await openSource(file);
  try {
    return await collect(source.rows());
  } finally {
    await source.close();
  }
}

async function refusal(file: string): Promise<UserError> {
  try {
    await read(file);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error(`${file} was accepted`);
}

const ROWS = [
  { row: 1, value: { q: 'one, "two"', a: '1' } },
  { row: 2, value: { q: 'line\nbreak — é', a: '2' } },
];
const ROW_VALUES = ROWS.map(({ value }) => value);

test.each<[string, string]>([
  ['rows.jsonl', ROW_VALUES.map((row) => JSON.stringify(row)).join('\n')],
  ['crlf.jsonl', `\uFEFF${ROW_VALUES.map((row) => JSON.stringify(row)).join('\r\n')}\r\n`],
  ['array.json', JSON.stringify(ROW_VALUES, null, 2)],
  ['bom.json', `\uFEFF${JSON.stringify(ROW_VALUES)}`],
  ['wrapped.json', JSON.stringify({ version: '[1]', meta: { rows: [1] }, train: ROW_VALUES, tail: [[]] })],
  ['lines.json', ROW_VALUES.map((row) => JSON.stringify(row)).join('\n')],
  ['array.jsonl', JSON.stringify(ROW_VALUES)],
  ['rows.csv', '\uFEFFq,a\r\n"one, ""two""",1\r\n"line\nbreak — é",2\r\n'],
  ['semicolons.csv', 'q;a\n"one, ""two""";1\n"line\nbreak — é";2\n'],
  ['separator-line.csv', '\uFEFFsep=;\r\nq;a\r\n"one, ""two""";1\r\n"line\nbreak — é";2\r\n'],
  ['rows.tsv', 'q\ta\n"one, ""two"""\t1\n"line\nbreak — é"\t2\n'],
  ['no-extension', ROW_VALUES.map((row) => JSON.stringify(row)).join('\n')],
])('reads %s', async (name, content) => {
  const file = await put(name, content);
  expect(await read(file)).toEqual(ROWS);
  const source = await openSource(file);
  expect(source.columns).toEqual(['q', 'a']);
  await source.close();
});

test('reads Parquet with nested messages', async () => {
  const messages = [{ role: 'user', content: 'hi' }];
  const buffer = parquetWriteBuffer({
    columnData: [
      { name: 'text', data: ['a', 'b', 'c'], type: 'STRING' },
      { name: 'messages', data: [messages, messages, messages], type: 'JSON' },
    ],
    rowGroupSize: 2,
  });
  const file = await put('rows.parquet', new Uint8Array(buffer));
  const rows = await read(file);
  expect(rows.map(({ row }) => row)).toEqual([1, 2, 3]);
  expect(rows[2]?.value).toEqual({ text: 'c', messages });
});

test('rows that straddle the blocks of a large file come out whole', async () => {
  const values = Array.from({ length: 3000 }, (_, index) => ({ text: `${index}:${'é'.repeat(700)}` }));
  const lines = await put('large.jsonl', values.map((value) => JSON.stringify(value)).join('\n'));
  const array = await put('large.json', JSON.stringify({ data: values }));
  for (const file of [lines, array]) {
    expect((await read(file)).map(({ value }) => value)).toEqual(values);
  }
});

test('a source can be read again, and its digest is that of the file', async () => {
  const source = await openSource(await put('again.jsonl', '{"text":"a"}\n'));
  expect(await collect(source.rows())).toEqual(await collect(source.rows()));
  expect(await source.sha256()).toBe('314d3a971f6f7c623e7dceb546ddde0687e41e9df02b0edc52ddb4a7a77f57e3');
  await source.close();
});

test.each<[string, string | Uint8Array, string, RegExp]>([
  ['broken.jsonl', '{"a":1}\n\n{"a":\n', 'data/malformed-row', /broken\.jsonl: row 3 is not valid JSON/],
  ['number.jsonl', '{"a":1}\n7\n', 'data/not-an-object', /row 2 is a number; expected an object/],
  ['latin1.jsonl', Buffer.from('{"a":"\xe9"}', 'latin1'), 'data/not-utf8', /row 1 is not UTF-8/],
  ['settings.json', '{\n"a": {"data": [1]}}', 'data/json-not-rows', /found an object with "a"/],
  ['scalar.json', '[1', 'data/malformed-json', /ends in the middle, inside row 1/],
  ['cut.json', '[{"a":1},{"a":', 'data/malformed-json', /inside row 2/],
  ['two.json', '[{"a":1}]\n[{"a":1}]', 'data/malformed-json', /more text after the end/],
  ['comma.json', '[{"a":1},]', 'data/malformed-json', /a comma without a row after row 1/],
  ['separator-line.csv', 'sep=;\na;b\n1;2\n1;2;3\n', 'data/csv-fields', /row 2 \(ends in line 4\)/],
  ['fields.csv', 'a,b\n1,2\n1,2,3\n', 'data/csv-fields', /row 2 \(ends in line 3\) has 3 fields; .* 2: a, b/],
  [
    'quote.csv',
    'a,b\n1,"2\n3,4\n5,6\n',
    'data/malformed-csv',
    /mark in the row that begins after line 1 is never/,
  ],
  ['inner.csv', 'a,b\n1,2\n1,2"3\n', 'data/malformed-csv', /inner\.csv: line 3: Invalid Opening Quote/],
  [
    'latin1.csv',
    Buffer.from('a,b\n1,2\ngrün,"groß"\n', 'latin1'),
    'data/not-utf8',
    /row 2 \(ends in line 3\) is not UTF-8/,
  ],
  ['header-latin1.csv', Buffer.from('größe,b\n1,2\n', 'latin1'), 'data/not-utf8', /the header is not UTF-8/],
  ['header.csv', 'a,a\n1,2\n', 'data/csv-header', /column 2 of the header repeats the name "a"/],
  ['empty.jsonl', '', 'data/empty-file', /empty\.jsonl is empty/],
  [
    'picture.jsonl',
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 1]),
    'data/unsupported-format',
    /a binary file/,
  ],
  ['renamed.jsonl', Buffer.from('PK\u0003\u0004rest'), 'data/unsupported-format', /a zip archive/],
  ['packed.jsonl', gzipSync('{"a":1}'), 'data/unsupported-format', /a gzip archive/],
  ['wide.jsonl', Buffer.from('\uFEFF{"a":1}', 'utf16le'), 'data/unsupported-format', /UTF-16/],
  ['notes.txt', 'just some words', 'data/unsupported-format', /extension "\.txt"/],
  ['fake.parquet', 'no parquet', 'data/parquet-damaged', /doesn't start with "PAR1"/],
  [
    'long.jsonl',
    `{"a":1}\n{"a":"${'x'.repeat(10_000_000)}"}`,
    'data/row-too-long',
    /row 2 is longer than 8 MiB/,
  ],
  ['long.json', `[{"a":"${'x'.repeat(10_000_000)}"}]`, 'data/row-too-long', /row 1 is longer than 8 MiB/],
  ['long.csv', `a,b\n1,"${'x'.repeat(10_000_000)}"`, 'data/row-too-long', /longer than 8 MiB/],
])('refuses %s', async (name, content, code, message) => {
  const error = await refusal(await put(name, content));
  expect(error.message).toMatch(message);
  expect(error.code).toBe(code);
  expect(error.hint).toBeTruthy();
});

test('refuses a folder and a missing file', async () => {
  expect((await refusal(folder)).code).toBe('data/is-directory');
  expect((await refusal(path.join(folder, 'absent.jsonl'))).code).toBe('data/not-found');
});

test('refuses Parquet files cut in the footer or in the data, and rows that are too long', async () => {
  const data = Array.from({ length: 5000 }, (_, index) => `text ${(index * 7919) % 5000}`);
  const buffer = new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'text', data, type: 'STRING' }] }));
  const cut = await refusal(await put('cut.parquet', buffer.subarray(0, buffer.length - 100)));
  expect(cut.code).toBe('data/parquet-damaged');
  expect(cut.message).toMatch(/cut\.parquet: the Parquet footer can't be read/);

  const hollow = buffer.slice();
  hollow.fill(0xff, 4, 2000);
  const damaged = await refusal(await put('hollow.parquet', hollow));
  expect(damaged.code).toBe('data/parquet-damaged');
  expect(damaged.message).toMatch(/rows 1 to 1000 can't be read/);

  const long = parquetWriteBuffer({
    columnData: [{ name: 'text', data: ['a'.repeat(MAX_ROW_BYTES + 1)], type: 'STRING' }],
  });
  expect((await refusal(await put('long.parquet', new Uint8Array(long)))).code).toBe('data/row-too-long');
});

test('with onBadRow the other rows are read, and each bad row is reported once', async () => {
  const long = `{"a":"${'x'.repeat(MAX_ROW_BYTES)}"}`;
  const files = [
    await put('some-bad.jsonl', `{"a":1}\nnonsense\n{"a":2}\n${long}\n{"a":3}`),
    await put('some-bad.json', `[{"a":1},nonsense,{"a":2},${long},{"a":3}]`),
    await put('some-bad.csv', 'a\n1\n1,2\n2\n3,4\n3\n'),
  ];
  for (const file of files) {
    const bad: number[] = [];
    const source = await openSource(file, { onBadRow: (row) => bad.push(row) });
    const rows = await collect(source.rows());
    await source.close();
    expect(rows.map(({ value }) => Number(value['a']))).toEqual([1, 2, 3]);
    expect(rows.map(({ row }) => row)).toEqual([1, 3, 5]);
    expect(bad).toEqual([2, 4]);
  }
});
