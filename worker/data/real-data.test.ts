import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { describeFile, inspectDataset } from './inspect.ts';
import type { Mapping } from './mapping.ts';
import { openTokenizer } from './tokenizer/tokenizer.ts';

const DATA = path.join(import.meta.dirname, '../../../shared/data');
const FIXTURE = path.join(import.meta.dirname, '../testing/golden-tokenizers-fixture/byte-level/models');

/** Files whose columns have names of their own. */
const BY_HAND: Readonly<Record<string, Mapping>> = {
  'math/mawps.train.json': { prompt: 'original_text', response: 'ans' },
  'esft/intent.eval.jsonl': { prompt: 'prompt', response: 'answers' },
};

const files = existsSync(DATA)
  ? readdirSync(DATA, { recursive: true, encoding: 'utf8' }).filter((name) => /\.jsonl?$/.test(name))
  : [];

test.skipIf(files.length === 0).each(files)('imports %s', async (name) => {
  const spec = { path: path.join(DATA, name), mapping: BY_HAND[name] };
  const file = await describeFile(spec);
  expect(file.badRows).toEqual([]);
  expect(file.recordFormat).not.toBe('unknown');
  expect(file.rows).toBeGreaterThan(200);
});

test.skipIf(files.length === 0)('every row of GSM8K can be trained on', async () => {
  const tokenizer = await openTokenizer(FIXTURE);
  const inspection = await inspectDataset([{ path: path.join(DATA, 'gsm8k/test.jsonl') }], {
    tokenizer,
    template: 'auto',
    lossOn: 'completion',
    maxLength: 4096,
  });
  expect(inspection).toMatchObject({ rows: 1319, truncatedRows: 0, findings: [] });
});
