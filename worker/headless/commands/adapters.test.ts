import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readSafetensors, writeSafetensors, type NamedTensor } from '#worker/checkpoint/index.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { condenser, makeSite, tensorsOf, type Site } from './cli.fixture.ts';

let site: Site;
/** A finished run of LoRA. */
let adapters: string;
beforeAll(async () => {
  site = makeSite();

  const runFile = path.join(site.dir, 'lora.json');
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as { train: object };
  const method = { name: 'lora', options: { rank: 3, alpha: 12 } };
  const train = { ...spec.train, learningRate: 0.03 };
  writeFileSync(runFile, JSON.stringify({ ...spec, method, train }));
  const said = await condenser('train', runFile, '--home', site.home, '--json');
  adapters = String(said.json()[0]?.['dir']);
});
afterAll(() => site.remove());

test('a run is exported with its adapters merged, and the export generates what the run does', async () => {
  const out = path.join(site.dir, 'merged');
  expect((await condenser('export', adapters, '--out', out)).status).toBe(0);
  expect((await condenser('inspect', out, '--json')).json()[0]).toMatchObject({ problems: [] });
  const generated = async (from: string) =>
    (await condenser('generate', from, '--prompt', 'w3 w61', '--max-new-tokens', '8', '--json')).json()[0]?.[
      'ids'
    ];
  const ids = await generated(adapters);
  expect(await generated(out)).toEqual(ids);
  expect(await generated(site.model)).not.toEqual(ids);
});

test('a run gives its adapters in the format of PEFT, from which merging makes the same model', async () => {
  const [out, merged, undone] = ['adapter', 'merged-outside', 'undone'].map((name) =>
    path.join(site.dir, name),
  ) as [string, string, string];
  const said = await condenser('export', adapters, '--format', 'adapter', '--out', out, '--json');
  // Two matrices beside four projections and beside three of each of eight experts, in three layers.
  expect(said.json()[0]).toMatchObject({ format: 'adapter', tensors: 3 * 2 * (4 + 3 * 8) });
  expect(JSON.parse(readFileSync(path.join(out, 'adapter_config.json'), 'utf8'))).toMatchObject({
    r: 3,
    lora_alpha: 12,
    base_model_name_or_path: 'model',
    target_modules: ['down_proj', 'gate_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj'],
  });
  expect((await condenser('merge', site.model, out, '--out', merged)).status).toBe(0);
  const whole = tensorsOf(path.join(site.dir, 'merged/model.safetensors'));
  const outside = tensorsOf(path.join(merged, 'model.safetensors'));
  for (const name of whole.all.keys()) expect(outside.bytes(name), name).toBe(whole.bytes(name));

  expect((await condenser('merge', merged, out, '--undo', '--out', undone)).status).toBe(0);
  const floats = (folder: string) => {
    const { bytes } = tensorsOf(path.join(folder, 'model.safetensors'));
    const name = 'model.layers.1.self_attn.q_proj.weight';
    return new Float32Array(new Uint8Array(Buffer.from(bytes(name), 'base64')).buffer);
  };
  const base = floats(site.model);
  const largest = (a: Float32Array) => Math.max(...a.map((x, i) => Math.abs(x - (base[i] ?? NaN))));
  expect(largest(floats(merged))).toBeGreaterThan(1e-3);
  expect(largest(floats(undone))).toBeLessThan(1e-6);
});

test('a run goes on from adapters as they are', async () => {
  const runFile = path.join(site.dir, 'again.json');
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as object;
  const method = { name: 'lora', options: { adapterFolder: path.join(site.dir, 'adapter') } };
  writeFileSync(runFile, JSON.stringify({ ...spec, method }));
  const losses = async (file: string) =>
    (await condenser('train', file, '--home', site.home, '--json'))
      .json()
      .filter(({ type }) => type === 'evaluation')
      .map(({ loss }) => Number(loss));
  const [first] = await losses(runFile);
  expect(first).toBe((await losses(path.join(site.dir, 'lora.json'))).at(-1));
});

test('an adapter with magnitudes is merged but not taken out again', async () => {
  const runFile = path.join(site.dir, 'dora.json');
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as object;
  writeFileSync(runFile, JSON.stringify({ ...spec, method: { name: 'dora', options: { rank: 2 } } }));
  const [started] = (await condenser('train', runFile, '--home', site.home, '--json')).json();
  const [out, merged, whole] = ['dora', 'dora-merged', 'dora-whole'].map((name) =>
    path.join(site.dir, name),
  ) as [string, string, string];
  const dir = String(started?.['dir']);
  expect((await condenser('export', dir, '--format', 'adapter', '--out', out)).status).toBe(0);
  expect((await condenser('export', dir, '--out', whole)).status).toBe(0);
  expect((await condenser('merge', site.model, out, '--out', merged)).status).toBe(0);
  const [a, b] = [whole, merged].map((folder) => tensorsOf(path.join(folder, 'model.safetensors')));
  for (const name of a?.all.keys() ?? []) expect(b?.bytes(name), name).toBe(a?.bytes(name));
  const said = await condenser('merge', merged, out, '--undo', '--out', `${out}-undone`, '--json');
  expect(said.json()[0]).toMatchObject({ code: 'adapter/not-undone' });
});

test('only a run of adapters has some to export', async () => {
  const run = path.join(site.dir, 'without');
  expect((await condenser('train', site.runFile, '--out', run, '--home', site.home)).status).toBe(0);
  const out = path.join(site.dir, 'none');
  const said = await condenser('export', run, '--format', 'adapter', '--out', out, '--json');
  expect(said.json()[0]).toMatchObject({ code: 'export/no-adapters' });
});

test('sub-matrices take their places in an export, and every other value is that of the checkpoint', async () => {
  const runFile = path.join(site.dir, 'smt.json');
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as { train: object };
  const options = { warmUpSteps: 2, blockSize: 16, attentionShare: 0.02, mlpShare: 0.02 };
  const train = { ...spec.train, learningRate: 0.03 };
  writeFileSync(runFile, JSON.stringify({ ...spec, method: { name: 'smt', options }, train }));
  const plan = (await condenser('plan', runFile, '--home', site.home, '--json')).json()[0];
  const dir = path.join(site.dir, 'smt');
  expect((await condenser('train', runFile, '--out', dir, '--home', site.home)).status).toBe(0);
  const out = path.join(site.dir, 'smt-export');
  expect((await condenser('export', dir, '--out', out)).status).toBe(0);

  const [after, before] = [out, site.model].map((folder) =>
    tensorsOf(path.join(folder, 'model.safetensors')),
  );
  const words = (of: typeof after, name: string) =>
    new Uint32Array(new Uint8Array(Buffer.from(of?.bytes(name) ?? '', 'base64')).buffer);
  /** Squares of 16 × 16 in which a tensor changed. */
  const changedIn = (name: string, [, width = 1]: readonly number[]) => {
    const [now, then] = [words(after, name), words(before, name)];
    const square = (i: number) => `${Math.floor(i / width / 16)} ${Math.floor((i % width) / 16)}`;
    return new Set([...now.keys()].filter((i) => now[i] !== then[i]).map(square)).size;
  };
  const changed = [...(before?.all ?? [])]
    .map(([name, { shape }]) => ({ name, squares: changedIn(name, shape) }))
    .filter(({ squares }) => squares > 0);
  expect(changed.filter(({ name }) => !/[qkv]_proj|experts/.test(name))).toEqual([]);
  const touched = changed.reduce((sum, { squares }) => sum + squares, 0);
  expect(touched * 16 * 16).toBe(plan?.['trainableParameters']);

  const generated = async (from: string) =>
    (await condenser('generate', from, '--prompt', 'w3 w61', '--max-new-tokens', '8', '--json')).json()[0]?.[
      'ids'
    ];
  expect(await generated(out)).toEqual(await generated(dir));
  const refused = await condenser('export', dir, '--format', 'adapter', '--out', `${out}-adapter`, '--json');
  expect(refused.json()[0]).toMatchObject({ code: 'export/no-adapters' });
});

/** A copy of the site's model whose experts share two tensors a layer, as newer libraries save them. */
function fusedModel(): string {
  const dir = path.join(site.dir, 'fused');
  cpSync(site.model, dir, { recursive: true });
  const file = readSafetensors(path.join(site.model, 'model.safetensors'));
  const entries = [...file.tensors.values()];
  const { num_experts: experts, num_hidden_layers: layers } = JSON.parse(
    readFileSync(path.join(dir, 'config.json'), 'utf8'),
  ) as { num_experts: number; num_hidden_layers: number };
  const joined = (layer: number, name: string, projections: readonly string[]): NamedTensor => {
    const parts = Array.from({ length: experts }, (_, e) =>
      projections.map((projection) => `model.layers.${layer}.mlp.experts.${e}.${projection}.weight`),
    ).flat();
    const [rows = 0, columns = 0] = file.tensors.get(parts[0] ?? '')?.shape ?? [];
    return {
      name: `model.layers.${layer}.mlp.experts.${name}`,
      dtype: 'F32',
      shape: [experts, rows * projections.length, columns],
      data: Buffer.concat(parts.map((part) => file.read(part))),
    };
  };
  const kept = entries.filter(({ name }) => !name.includes('.experts.'));
  const fused = Array.from({ length: layers }, (_, layer) => [
    joined(layer, 'gate_up_proj', ['gate_proj', 'up_proj']),
    joined(layer, 'down_proj', ['down_proj']),
  ]).flat();
  const copies = kept.map(({ name, dtype, shape }) => ({ name, dtype, shape, data: file.read(name) }));
  writeSafetensors(path.join(dir, 'model.safetensors'), [...copies, ...fused]);
  file.close();
  return dir;
}

test('a model whose experts share tensors gets the same adapters, and the same merged weights', async () => {
  const model = fusedModel();
  const runFile = path.join(site.dir, 'fused.json');
  const spec = JSON.parse(readFileSync(path.join(site.dir, 'lora.json'), 'utf8')) as object;
  writeFileSync(runFile, JSON.stringify({ ...spec, model: { path: model } }));
  const dir = path.join(site.dir, 'fused-run');
  expect((await condenser('train', runFile, '--out', dir, '--home', site.home)).status).toBe(0);
  const exported = async (from: string, format: string, file: string) => {
    const out = path.join(site.dir, `${format} of ${path.basename(from)}`);
    expect((await condenser('export', from, '--format', format, '--out', out)).status).toBe(0);
    return tensorsOf(path.join(out, file));
  };
  for (const [format, file] of [
    ['adapter', 'adapter_model.safetensors'],
    ['hf', 'model.safetensors'],
  ] as const) {
    const [got, want] = [await exported(dir, format, file), await exported(adapters, format, file)];
    expect([...got.all.keys()].sort()).toEqual([...want.all.keys()].sort());
    for (const name of want.all.keys()) expect(got.bytes(name), name).toBe(want.bytes(name));
  }
});

test('adapters of a run with condensers come with the files of its router', async () => {
  const runFile = path.join(site.dir, 'condensers.json');
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as { method: { options: object } };
  const options = { ...spec.method.options, adapters: { rank: 2 } };
  writeFileSync(runFile, JSON.stringify({ ...spec, method: { name: 'expert-condenser', options } }));
  const dir = path.join(site.dir, 'condensers');
  expect((await condenser('train', runFile, '--out', dir, '--home', site.home)).status).toBe(0);
  const out = path.join(site.dir, 'condensers-adapter');
  const said = await condenser('export', dir, '--format', 'adapter', '--out', out, '--json');
  expect(said.json()[0]).toMatchObject({
    notes: [expect.stringContaining('moe_bias_states.json') as string],
  });
  for (const name of ['moe_bias_states.json', 'forced_experts_records.json'])
    expect(readFileSync(path.join(out, name), 'utf8')).toBe(readFileSync(path.join(dir, name), 'utf8'));
});
