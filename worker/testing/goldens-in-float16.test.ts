/** Frozen weights in float16 on a graphics adapter: golden cases within the limits of that, and their checkpoints in float16. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasFloat16Adapter, holdAdapter, useFloat16Adapter } from './adapter.ts';
import { compareInFloat16 } from './float16-checkpoint.fixture.ts';
import { casesFound } from './golden-cases.fixture.ts';
import { runCase } from './run-case.ts';

useFloat16Adapter();

/** Rounding sends no token of these elsewhere. */
const asReference = casesFound([
  'families/olmoe',
  'families/deepseek_v2-groups',
  'families/qwen3_moe',
  'methods/frozen-router-olmoe',
  'methods/esft-olmoe',
  'methods/lora-olmoe',
  'methods/gradient-densemixer-olmoe',
  'methods/gradient-expert-condenser-olmoe',
]);

const rounded = casesFound(['families/olmoe', 'families/deepseek_v2-lite', 'families/gpt_oss']);

describe.runIf(hasFloat16Adapter)('on a graphics adapter with float16', () => {
  let work = '';
  beforeAll(async () => {
    work = mkdtempSync(path.join(tmpdir(), 'condenser-float16-'));
    await holdAdapter();
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  test('some cases are there', () => {
    expect(Math.min(asReference.length, rounded.length)).toBeGreaterThan(0);
  });

  test.each(asReference)(
    '%s is as the reference has it, within the limits of float16',
    async (_name, dir) => {
      const result = await runCase(dir, { provider: 'webgpu', deviceWeights: 'float16' });
      expect(result.unsupported).toBeUndefined();
      expect(result.checks.filter(({ ok }) => !ok)).toEqual([]);
      expect(result.checks.length).toBeGreaterThan(0);
    },
    120_000,
  );

  test.each(rounded)(
    'the checkpoint of %s in float16 computes what the CPU does with it',
    async (_name, dir) => {
      const { checks, halves } = await compareInFloat16(dir, work);
      expect(halves).toBeGreaterThan(30);
      expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    },
    120_000,
  );

  test('weights that are rounded are not those of the reference, and what is computed with them shows it', async () => {
    const [olmoe] = casesFound(['families/olmoe']);
    const computed = async (deviceWeights: 'float32' | 'float16') => {
      const { checks } = await runCase(olmoe?.[1] ?? '', { provider: 'webgpu', deviceWeights });
      return checks.find(({ name }) => name === 'logits')?.maxAbs ?? NaN;
    };
    expect(await computed('float16')).toBeGreaterThan(100 * (await computed('float32')));
  }, 120_000);
});
