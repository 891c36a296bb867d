/** Golden cases of the main families and methods on a graphics adapter, within the limits of the CPU. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { hasAdapter, holdAdapter } from './adapter.ts';
import { runCase } from './run-case.ts';

const committed = path.join(import.meta.dirname, 'goldens');
const all = path.join(import.meta.dirname, '../../../shared/golden');

const cases = [
  'families/olmoe',
  'families/deepseek_v2-lite',
  'families/gpt_oss',
  'families/olmoe-generate',
  'methods/full-olmoe',
  'methods/frozen-router-olmoe',
  'methods/esft-olmoe',
  'methods/densemixer-olmoe',
  'methods/expert-condenser-phase2-olmoe-clean',
];

const found = cases.flatMap((name) => {
  const dir = [committed, all].map((root) => path.join(root, name)).find((each) => existsSync(each));
  return dir === undefined ? [] : [[name, dir] as const];
});

describe.runIf(hasAdapter)('on a graphics adapter', () => {
  beforeAll(holdAdapter);

  test('some cases are there', () => {
    expect(found.length).toBeGreaterThan(3);
  });

  test.each(found)(
    '%s',
    async (_name, dir) => {
      const result = await runCase(dir, 'webgpu');
      expect(result.unsupported).toBeUndefined();
      expect(result.checks.filter(({ ok }) => !ok)).toEqual([]);
      expect(result.checks.length).toBeGreaterThan(0);
    },
    120_000,
  );

  test('what is only checked on the CPU says so', async () => {
    const { unsupported } = await runCase(path.join(committed, 'methods/condenser-select'), 'webgpu');
    expect(unsupported).toMatch(/are checked on the CPU only$/);
  });
});
