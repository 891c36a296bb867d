import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { checkTokenizerCase } from './golden-tokenizers.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const GOLDEN = path.join(ROOT, '../shared/golden/tokenizers');
/** Filled by `scripts/fetch-golden-tokenizers.mjs`; the packages are too large to be dependencies. */
const PACKAGES = path.join(ROOT, 'node_modules/.cache/golden-tokenizers/node_modules');
const FIXTURES = path.join(import.meta.dirname, 'golden-tokenizers-fixture');

/** The checks of a case with chat template. */
const CHECKS = [
  'vocabulary size',
  'has chat template',
  'special tokens',
  'ids',
  'ids with special',
  'decoded',
  'decoded without special',
  'offsets cover the text',
  'rendered',
  'conversation ids',
  'assistant spans',
  'assistant mask',
  'closing tokens',
];

async function check(caseFolder: string, packageFolder: string): Promise<string[]> {
  const differences: string[] = [];
  const checks = await checkTokenizerCase(caseFolder, packageFolder, (difference) =>
    differences.push(difference),
  );
  expect(differences).toEqual([]);
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  return checks.map(({ name }) => name);
}

test.each(['byte-level', 'sentencepiece-style'])('fixture %s', async (name) => {
  const folder = path.join(FIXTURES, name);
  expect(await check(folder, folder)).toEqual(CHECKS);
});

test('a wrong id is a failed check', async () => {
  const folder = path.join(FIXTURES, 'byte-level');
  const checks = await checkTokenizerCase(folder, path.join(FIXTURES, 'sentencepiece-style'));
  expect(checks.find(({ name }) => name === 'ids')).toEqual({
    name: 'ids',
    maxAbs: 1,
    maxRel: 1,
    limit: 0,
    ok: false,
  });
});

const cases = existsSync(GOLDEN)
  ? readdirSync(GOLDEN).filter((name) => existsSync(path.join(GOLDEN, name, 'case.json')))
  : [];

test.skipIf(cases.length === 0 || !existsSync(PACKAGES)).each(cases)('golden %s', async (name) => {
  const folder = path.join(GOLDEN, name);
  const { package: npmPackage } = JSON.parse(readFileSync(path.join(folder, 'case.json'), 'utf8')) as {
    package: string;
  };
  expect((await check(folder, path.join(PACKAGES, npmPackage))).length).toBeGreaterThanOrEqual(8);
});
