import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeDenseModel } from '#worker/transform/dense-model.fixture.ts';
import { condenser, makeSite, tensorsOf, type Site } from './cli.fixture.ts';

let site: Site;
let data: readonly string[];
beforeAll(() => {
  site = makeSite();
  data = ['--data', site.data, '--mapping', 'prompt=question', '--mapping', 'response=answer'];
});
afterAll(() => site.remove());

const jsonFile = (...parts: readonly string[]) =>
  JSON.parse(readFileSync(path.join(...parts), 'utf8')) as Record<string, unknown>;

/** Generates five tokens, and says how that ended. */
const generated = async (model: string) =>
  (await condenser('generate', model, '--prompt', 'w3 w61', '--max-new-tokens', '5', '--json')).json()[0];

test('a dense checkpoint is upcycled with its tokenizer, and generates the same', async () => {
  const dense = path.join(site.dir, 'dense');
  writeDenseModel(dense, 'qwen3');
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(path.join(site.model, name), path.join(dense, name));
  const out = path.join(site.dir, 'upcycled');
  const said = await condenser('upcycle', dense, '--out', out, '--experts', '4', '--every', '2', '--json');
  expect(said.json()[0]).toMatchObject({ out, family: 'qwen3_moe', experts: 4, moeLayers: [1] });
  expect((await condenser('inspect', out, '--json')).json()[0]).toMatchObject({ problems: [] });
  expect((await generated(out))?.['ids']).toEqual((await generated(dense))?.['ids']);
  const again = await condenser('upcycle', dense, '--out', out, '--json');
  expect(again.status).toBe(2);
  expect(again.json()[0]).toMatchObject({ code: 'export/exists' });
  const many = ['--experts', '2', '--top-k', '3', '--out', `${out}-2`, '--json'];
  expect((await condenser('upcycle', dense, ...many)).json()[0]).toMatchObject({ code: 'upcycle/top-k' });
});

test('a pruned checkpoint is complete, and says what was dropped', async () => {
  const out = path.join(site.dir, 'pruned');
  const said = await condenser(
    'prune',
    site.model,
    '--out',
    out,
    '--ratio',
    '0.5',
    '--samples',
    '6',
    ...data,
    '--json',
  );
  const [document] = said.json();
  expect(document).toMatchObject({
    score: 'meanAbsGrad',
    scope: 'expert',
    layout: 'structural',
    calibration: { samples: 6, files: [{ path: site.data }] },
  });
  expect(document?.['droppedNeurons']).toBe(Number(document?.['totalNeurons']) / 2);
  expect(jsonFile(out, 'pruning_summary.json')['layers']).toEqual(document?.['layers']);
  const [before, after] = [jsonFile(site.model, 'config.json'), jsonFile(out, 'config.json')];
  expect(after['intermediate_size']).toBe(Number(before['intermediate_size']) / 2);
  expect((await condenser('inspect', out, '--json')).json()[0]).toMatchObject({ problems: [] });
  expect((await generated(out))?.['stopped']).toBeDefined();
  const router = 'model.layers.0.mlp.gate.weight';
  const [source, pruned] = [site.model, out].map((dir) => tensorsOf(path.join(dir, 'model.safetensors')));
  expect(pruned?.bytes(router)).toBe(source?.bytes(router));
});

test('a masked checkpoint of a whole layer can be trained on, and keeps its zeros', async () => {
  const out = path.join(site.dir, 'masked');
  const options = ['--scope', 'layer', '--score', 'activation', '--least-width', '1', '--out', out];
  expect((await condenser('prune', site.model, ...options, ...data)).stdout).toMatch(/scope layer, mask/);
  const runFile = path.join(site.dir, 'run.json');
  const run = path.join(site.dir, 'masked-run');
  const { dropped } = (jsonFile(out, 'pruning_summary.json')['layers'] as { dropped: number[][] }[])[0] ?? {};
  const expert = dropped?.findIndex((neurons) => neurons.length > 0) ?? -1;
  const neuron = dropped?.[expert]?.[0] ?? -1;
  const rowOf = (dir: string) => {
    const { bytes, all } = tensorsOf(path.join(dir, 'model.safetensors'));
    const name = `model.layers.0.mlp.experts.${expert}.up_proj.weight`;
    const width = all.get(name)?.shape[1] ?? 0;
    const values = new Float32Array(new Uint8Array(Buffer.from(bytes(name), 'base64')).buffer);
    return [...values.subarray(neuron * width, (neuron + 1) * width)];
  };
  expect(new Set(rowOf(out))).toEqual(new Set([0]));
  expect(rowOf(site.model).some((value) => value === 0)).toBe(false);
  const spec = { ...jsonFile(runFile), model: { path: out }, method: { name: 'full' } };
  const masked = path.join(site.dir, 'masked.json');
  writeFileSync(masked, JSON.stringify(spec));
  expect((await condenser('train', masked, '--out', run, '--home', site.home)).status).toBe(0);
  const trained = path.join(site.dir, 'masked-trained');
  expect((await condenser('export', run, '--out', trained)).status).toBe(0);
  expect(new Set(rowOf(trained))).toEqual(new Set([0]));
});

test.each([
  [['--ratio', '1.5'], 'cli/bad-value'],
  [['--scope', 'layer', '--layout', 'structural', '--score', 'magnitude'], 'prune/not-uniform'],
  [['--scope', 'layer', '--layout', 'ragged', '--score', 'magnitude'], 'prune/ragged-family'],
  [['--score', 'guess'], 'cli/bad-value'],
  [[], 'cli/missing-option'],
])('prune %j is refused', async (options, code) => {
  const said = await condenser('prune', site.model, '--out', path.join(site.dir, 'no'), ...options, '--json');
  expect(said.status).toBe(2);
  expect(said.json()[0]).toMatchObject({ code });
});

test('routing of a model and of its own copy: nothing drifted; of a pruned one something did', async () => {
  const pruned = path.join(site.dir, 'half');
  await condenser('prune', site.model, '--out', pruned, '--ratio', '0.5', '--score', 'random');
  const measured = async (tuned: string) =>
    (await condenser('routing', site.model, tuned, ...data, '--samples', '6', '--json')).json()[0];
  const same = await measured(site.model);
  const layers = same?.['layers'] as {
    models: { counts: number[]; tokens: number; coSelection: number; outputCosine: number }[];
    drift: { kl: number; topKJaccard: number };
  }[];
  expect(layers).toHaveLength(3);
  for (const { models, drift } of layers) {
    expect(drift).toMatchObject({ kl: 0, js: 0, topKJaccard: 1, topOneFlipRate: 0, selection: { kl: 0 } });
    expect(models[0]).toEqual(models[1]);
    // Two choices a token.
    expect(models[0]?.counts.reduce((sum, value) => sum + value, 0)).toBe(2 * (models[0]?.tokens ?? 0));
    // Two of eight are chosen: a choice makes the others less likely. Random experts are not alike.
    expect(models[0]?.coSelection).toBeLessThan(0);
    expect(Math.abs(models[0]?.outputCosine ?? NaN)).toBeLessThan(0.5);
  }
  const other = (await measured(pruned))?.['layers'] as typeof layers;
  expect(other[0]?.drift.kl).toBe(0);
  expect(other[2]?.drift.kl).toBeGreaterThan(0);
  expect((await condenser('routing', site.model, ...data)).stdout).toMatch(/co-selection/);
});

test('the study measures every criterion at every share', async () => {
  const options = ['--keep', '50,100', '--samples', '8', ...data];
  const [document] = (await condenser('expert-study', site.model, ...options, '--json')).json();
  const rows = document?.['rows'] as { keep: number; loss: number; keptExperts: number }[];
  expect(rows).toHaveLength(6);
  for (const { keep, loss, keptExperts } of rows) {
    expect(keptExperts).toBe(8 * keep);
    expect(loss === document?.['baseLoss']).toBe(keep === 1);
  }
  expect((await condenser('expert-study', site.model, ...options)).stdout).toMatch(/by output norm/);
  const few = await condenser('expert-study', site.model, '--keep', '12', ...data, '--json');
  expect(few.json()[0]).toMatchObject({ code: 'study/too-few-experts' });
});
