import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADDITIONS_FILE, readSafetensors, writeSafetensors } from '#worker/checkpoint/index.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { loadModel } from '#worker/train/index.ts';
import { condenser, makeSite, type Site } from './cli.fixture.ts';
import { openNamed } from './open-model.ts';
import path from 'node:path';

let site: Site;
beforeAll(() => {
  site = makeSite();
});
afterAll(() => site.remove());

const inputIds = Int32Array.from({ length: 12 }, (_, i) => 2 + ((i * 31) % 190));

async function logitsOf(model: string): Promise<Float32Array> {
  const opened = await openNamed(model, undefined);
  try {
    return (
      await opened.model.executor.logits(
        unpaddedBatch(inputIds),
        inputIds.map((_, i) => i),
      )
    ).logits;
  } finally {
    opened.model.close();
  }
}

/** Trains `model` for four steps; what the run said, and its directory. */
async function train(name: string, model: string, method: object) {
  const file = path.join(site.dir, `${name}.json`);
  const spec = JSON.parse(readFileSync(site.runFile, 'utf8')) as { train: object };
  const run = { ...spec, model: { path: model }, method, train: { ...spec.train, learningRate: 0.02 } };
  writeFileSync(file, JSON.stringify(run));
  const dir = path.join(site.dir, name);
  const said = await condenser('train', file, '--out', dir, '--home', site.home, '--json');
  expect(said.status).toBe(0);
  const losses = said.json().flatMap(({ type, loss }) => (type === 'evaluation' ? [Number(loss)] : []));
  return { dir, losses };
}

async function exported(run: string, ...options: readonly string[]) {
  const out = `${run}-export`;
  const said = await condenser('export', run, '--out', out, '--json', ...options);
  expect(said.status).toBe(0);
  return { out, document: said.json()[0] ?? {} };
}

const gate = { name: 'transformed-gate', options: { activation: 'tanh', temperature: 0.3 } };
const local = { name: 'local-expert', options: { rank: 4, threshold: 0.45, trains: 'all' } };
// Three layers; eight experts, or two matrices of 4 × 64, a gate and its bias.
const cases = [
  { name: 'a learned gate', method: gate, size: { 'learned gates': 3 * (8 + 1) } },
  { name: 'local experts', method: local, size: { 'local experts': 3 * (2 * 4 * 64 + 64 + 1) } },
];

test.each(cases)(
  '$name is exported beside the weights, and read again with the same logits',
  async ({ name, method, size }) => {
    const run = await train(name, 'model', method);
    const { out, document } = await exported(run.dir);
    expect(document['notes']).toEqual([
      'Other programs ignore condenser_additions.safetensors and then compute something else.',
    ]);
    const [summary] = (await condenser('inspect', out, '--json')).json();
    expect(summary).toMatchObject({ problems: [], parameters: { byKind: size } });
    const logits = await logitsOf(run.dir);
    expect(await logitsOf(out)).toEqual(logits);
    const without = path.join(site.dir, `${name}-without`);
    cpSync(out, without, { recursive: true });
    rmSync(path.join(without, ADDITIONS_FILE));
    expect(await logitsOf(without)).not.toEqual(logits);

    const again = await train(`${name}-full`, out, { name: 'full', options: {} });
    expect(again.losses[0]).toBe(run.losses.at(-1));
    expect(again.losses.at(-1)).not.toBe(again.losses[0]);
    // Full fine-tuning trains what was added as well, and exports it.
    const second = await exported(again.dir);
    expect(await logitsOf(second.out)).toEqual(await logitsOf(again.dir));
    expect(readFileSync(path.join(second.out, ADDITIONS_FILE))).not.toEqual(
      readFileSync(path.join(out, ADDITIONS_FILE)),
    );
  },
);

test('a method goes on with what the model has, and what does not train is carried over', async () => {
  const first = await exported((await train('gate', 'model', gate)).dir);
  const second = await train('both', first.out, { name: 'local-expert', options: { rank: 2 } });
  const both = await exported(second.dir);
  expect(await logitsOf(both.out)).toEqual(await logitsOf(second.dir));
  const { metadata, tensors } = readSafetensors(path.join(both.out, ADDITIONS_FILE));
  expect(JSON.parse(metadata['condenser_additions'] ?? '')).toMatchObject({
    version: 1,
    learnedGate: { activation: 'tanh' },
    localExpert: { rank: 2 },
  });
  expect([...tensors.keys()].filter((tensor) => tensor.startsWith('layers.1.')).sort()).toEqual(
    ['gateLogTemperature', 'gateOffset', 'localDown', 'localGate', 'localGateBias', 'localUp'].map(
      (role) => `layers.1.${role}`,
    ),
  );
  const lora = await exported((await train('adapted', both.out, { name: 'lora', options: {} })).dir);
  expect(readFileSync(path.join(lora.out, ADDITIONS_FILE))).toEqual(
    readFileSync(path.join(both.out, ADDITIONS_FILE)),
  );
});

test('of token routers the table is exported, by which the weights compute the same', async () => {
  const method = { name: 'stablemoe', options: { stageSplit: 0.5, embeddingSize: 8 } };
  const run = await train('stable', 'model', method);
  const { out, document } = await exported(run.dir);
  expect(document['notes']).toEqual([
    'Other programs ignore token_experts.safetensors and then compute something else.',
  ]);
  const [summary] = (await condenser('inspect', out, '--json')).json();
  const [base] = (await condenser('inspect', site.model, '--json')).json();
  expect(summary?.['parameters']).toEqual(base?.['parameters']);
  const logits = await logitsOf(run.dir);
  expect(await logitsOf(out)).not.toEqual(logits);
  const model = await loadModel({
    modelDir: out,
    method: { name: 'hash-routing', options: { weights: 'published', tableFile: out } },
    trains: false,
  });
  try {
    const everywhere = inputIds.map((_, i) => i);
    expect((await model.executor.logits(unpaddedBatch(inputIds), everywhere)).logits).toEqual(logits);
  } finally {
    model.close();
  }
});

test('a file that does not belong to the model is refused', async () => {
  const folder = path.join(site.dir, 'refused');
  cpSync(site.model, folder, { recursive: true });
  const write = (name: string, metadata: Record<string, string>) =>
    writeSafetensors(
      path.join(folder, ADDITIONS_FILE),
      [{ name, dtype: 'F32', shape: [1], data: new Uint8Array(4) }],
      { metadata },
    );
  const code = async () => (await condenser('inspect', folder, '--json')).json()[0]?.['code'];
  write('layers.0.gateLogTemperature', {});
  expect(await code()).toBe('additions/invalid');
  const plan = JSON.stringify({ version: 1, learnedGate: { activation: 'identity' } });
  write('layers.9.gateLogTemperature', { condenser_additions: plan });
  expect(await code()).toBe('additions/other-model');
  write('layers.0.gateLogTemperature', { condenser_additions: plan });
  const [summary] = (await condenser('inspect', folder, '--json')).json();
  expect(JSON.stringify(summary?.['problems'])).toContain('tensor layers.0.gateOffset is missing');
});
