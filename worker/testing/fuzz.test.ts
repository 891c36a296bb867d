import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fuzzConfigs, fuzzSafetensors, fuzzTokenizers, type FuzzResult } from './fuzz.ts';

const sample = join(import.meta.dirname, '../../resources/sample/sample-moe');
const families = join(import.meta.dirname, '../../../shared/golden/families');

function expectBoth({ read, refused }: FuzzResult): void {
  expect(read).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
}

const configOf = (modelDir: string) =>
  JSON.parse(readFileSync(join(modelDir, 'config.json'), 'utf8')) as Record<string, unknown>;

test('mutated safetensors files are read or refused', async () => {
  expectBoth(await fuzzSafetensors(1, 3000));
});

test('mutated configurations are understood or refused', async () => {
  const folders = existsSync(families)
    ? readdirSync(families).map((name) => join(families, name, 'model'))
    : [];
  const configs = [sample, ...folders.filter((folder) => existsSync(join(folder, 'config.json')))].map(
    configOf,
  );
  expectBoth(await fuzzConfigs(1, 3000, configs));
});

test('mutated tokenizers work or are refused', async () => {
  expectBoth(await fuzzTokenizers(1, 300, sample));
});
