/** What the data screens ask for, on the bundled sample. */
import { cpSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dataPort } from './data-port.ts';
import { keptTokenizer } from './tokenizer-cache.ts';

const sample = path.join(import.meta.dirname, '../../resources/sample');
let folder = '';
let model = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'condenser-data-port-'));
  model = path.join(folder, 'model');
  cpSync(path.join(sample, 'sample-moe'), model, {
    recursive: true,
    filter: (file) => !file.endsWith('.safetensors'),
  });
});
afterAll(() => rmSync(folder, { recursive: true }));

const view = () => ({ modelPath: model, maxLength: 64, lossOn: 'completion' as const });

test('a preview leaves out rows that cannot be used, and says why when there is no other', async () => {
  const file = path.join(folder, 'mixed.jsonl');
  const row = (prompt: string, response: string) => `${JSON.stringify({ prompt, response })}\n`;
  writeFileSync(file, `${row('one', 'yes')}{"prompt": "two",\n${row('three', 'no')}`);
  const { mapping } = await dataPort.open(file);
  const source = { path: file, mapping };
  const rows = (from: number, count: number) =>
    dataPort.preview(source, view(), from, count).then((shown) => shown.map(({ row: number }) => number));
  expect(await rows(1, 3)).toEqual([1, 3]);
  expect(await rows(3, 10)).toEqual([3]);
  expect(await rows(4, 10)).toEqual([]);
  await expect(rows(2, 1)).rejects.toMatchObject({ code: 'data/malformed-row' });
});

test('a tokenizer is read once, and again when its folder changed', async () => {
  const first = await keptTokenizer(model);
  expect(await keptTokenizer(model)).toBe(first);
  const file = path.join(model, 'tokenizer_config.json');
  writeFileSync(file, readFileSync(file));
  utimesSync(file, new Date(), new Date(Date.now() + 5000));
  expect(await keptTokenizer(model)).not.toBe(first);
});

test('a tokenizer that could not be read is tried again', async () => {
  const broken = path.join(folder, 'broken');
  await expect(keptTokenizer(broken)).rejects.toMatchObject({ code: 'tokenizer/missing' });
  cpSync(model, broken, { recursive: true });
  expect((await keptTokenizer(broken)).vocabSize).toBeGreaterThan(0);
});
