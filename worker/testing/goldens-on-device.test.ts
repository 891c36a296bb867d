/** Golden cases of the main families and methods on a graphics adapter, within the limits of the CPU. */
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { hasAdapter, holdAdapter } from './adapter.ts';
import { casesFound, committed } from './golden-cases.fixture.ts';
import { runCase } from './run-case.ts';

const found = casesFound([
  'families/olmoe',
  'families/deepseek_v2-lite',
  'families/gpt_oss',
  'families/olmoe-generate',
  'methods/full-olmoe',
  'methods/frozen-router-olmoe',
  'methods/esft-olmoe',
  'methods/densemixer-olmoe',
  'methods/expert-condenser-phase2-olmoe-clean',
]);

describe.runIf(hasAdapter)('on a graphics adapter', () => {
  beforeAll(holdAdapter);

  test('some cases are there', () => {
    expect(found.length).toBeGreaterThan(3);
  });

  test.each(found)(
    '%s',
    async (_name, dir) => {
      const result = await runCase(dir, { provider: 'webgpu' });
      expect(result.unsupported).toBeUndefined();
      expect(result.checks.filter(({ ok }) => !ok)).toEqual([]);
      expect(result.checks.length).toBeGreaterThan(0);
    },
    120_000,
  );

  test('what is only checked on the CPU says so', async () => {
    const dir = path.join(committed, 'methods/condenser-select');
    const { unsupported } = await runCase(dir, { provider: 'webgpu' });
    expect(unsupported).toMatch(/are checked on the CPU only$/);
  });
});
