/** What is said of a checkpoint folder with something wrong, before it is trained. */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { probeBeside } from '#worker/runtime/index.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { inspectModel } from './inspect-model.ts';
import { loadModel } from './load-model.ts';
import { planRun } from './plan-run.ts';

const sample = path.join(import.meta.dirname, '../../resources/sample');
let work = '';
let model = '';
beforeAll(() => {
  work = mkdtempSync(path.join(os.tmpdir(), 'condenser-inspect-'));
  model = path.join(work, 'model');
});
beforeEach(() => {
  rmSync(model, { recursive: true, force: true });
  cpSync(path.join(sample, 'sample-moe'), model, { recursive: true });
});
afterAll(() => rmSync(work, { recursive: true }));

function changeConfig(change: object): void {
  const file = path.join(model, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, ...change }));
}

const weights = () => path.join(model, 'model.safetensors');
const load = () => loadModel({ modelDir: model, method: { name: 'full', options: {} } });
const plan = (method: { name: string; options?: Record<string, unknown> } = { name: 'full' }) =>
  planRun(
    parseRunSpec({
      model: { path: model },
      data: { train: [{ path: path.join(sample, 'data/word-problems.jsonl') }] },
      method,
      train: { steps: 1 },
    }),
    probeBeside(process.execPath, path.resolve(import.meta.dirname, '../main.ts')),
  );

test('a sound folder has no problems', async () => {
  expect(await inspectModel(model)).toMatchObject({
    family: 'olmoe',
    layers: 4,
    moeLayers: 4,
    experts: 16,
    expertsPerToken: 2,
    parameters: { total: 2_107_520 },
    tokenizer: { present: true, chatTemplate: true },
    problems: [],
  });
  expect(await plan()).toMatchObject({ ok: true, problems: [] });
});

test('a loss on general data that are not named is a problem of the plan', async () => {
  const { problems } = await plan({ name: 'full', options: { baseKlCoefficient: 1, baseKlOn: 'general' } });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain('is taken on general data, and data.general names none');
});

test('a tensor of another shape is named with both shapes', async () => {
  changeConfig({ intermediate_size: 32 });
  const { problems } = await inspectModel(model);
  expect(problems[0]).toMatch(/tensor model\.layers\.0\.mlp\.experts\.0\.gate_proj\.weight .*64.*32/);
  await expect(load()).rejects.toMatchObject({ code: 'checkpoint/wrong-shape' });
});

test('a tensor that is missing is named', async () => {
  const bytes = readFileSync(weights());
  bytes.write('model.layers.2.mlp.gote', bytes.indexOf('model.layers.2.mlp.gate.weight'));
  writeFileSync(weights(), bytes);
  const { problems } = await inspectModel(model);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain('tensor model.layers.2.mlp.gate.weight is missing');
  await expect(load()).rejects.toMatchObject({ code: 'checkpoint/missing-tensor' });
});

test('a cut-off file is refused by inspection and by training, and a problem of the plan', async () => {
  truncateSync(weights(), 1_000_000);
  await expect(inspectModel(model)).rejects.toMatchObject({ code: 'safetensors/truncated' });
  await expect(load()).rejects.toMatchObject({ code: 'safetensors/truncated' });
  expect(await plan()).toMatchObject({
    ok: false,
    problems: [expect.stringContaining('model.safetensors') as string],
  });
});

test('an unknown family is refused, and a problem of the plan', async () => {
  changeConfig({ model_type: 'gpt2' });
  await expect(inspectModel(model)).rejects.toMatchObject({ code: 'config/unknown-family' });
  expect(await plan()).toMatchObject({ ok: false, problems: [expect.stringContaining('gpt2') as string] });
});

test('a missing tokenizer is a problem', async () => {
  rmSync(path.join(model, 'tokenizer.json'));
  const { tokenizer, problems } = await inspectModel(model);
  expect(tokenizer.present).toBe(false);
  expect(problems).toEqual([expect.stringContaining('tokenizer.json') as string]);
});

test('a tokenizer with ids beyond the rows of the embedding is a problem', async () => {
  changeConfig({ vocab_size: 1000 });
  const { problems } = await inspectModel(model);
  expect(problems).toContainEqual(
    expect.stringContaining('the tokenizer has ids up to 1005, the embedding only 1000 rows'),
  );
});
