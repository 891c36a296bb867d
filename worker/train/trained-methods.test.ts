/** What single methods train, record and write beside a run. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  openLatestCheckpoint,
  readBiasStates,
  readExpertConfig,
  readExpertScores,
  readForcedExperts,
} from '#worker/checkpoint/index.ts';
import { selectExperts } from '#worker/methods/index.ts';
import { openTrainedWeights } from './trainer-state.ts';
import {
  condensers,
  defaults,
  eightRows,
  esft,
  failure,
  inWork,
  lora,
  run,
  sample,
  smt,
  stable,
  stateHash,
  workingFolder,
} from './trainer.fixture.ts';

workingFolder();

test('condensers are chosen in the middle of a run of both phases, and the published files are written', async () => {
  const { events, routing } = await run('phases', { method: condensers });
  expect(
    events.filter((event) => event.startsWith('phase: Condenser phase begins: 8 condensers')),
  ).toHaveLength(1);
  expect(routing.map(({ condensers: chosen }) => chosen?.length ?? 0)).toEqual([0, 0, 4, 4, 4, 4]);
  const dir = inWork('phases');
  expect(readForcedExperts(dir)?.map(({ experts }) => experts)).toEqual(routing.at(-1)?.condensers);
  const bias = readBiasStates(dir)?.flatMap(({ bias_E }) => [...bias_E]);
  expect(bias).toEqual([...(routing.at(-1)?.bias_LE ?? [])]);
});

test('LoRA trains and saves its adapters and nothing else', async () => {
  const rows = eightRows();
  const { steps } = await run('adapters', { rows, method: lora, learningRate: 3e-3 });
  expect(steps.at(-1)?.loss).toBeLessThan((steps[0]?.loss ?? 0) * 0.9);
  // With B at zero the first step computes what the checkpoint does.
  const { steps: full } = await run('adapters-full', { rows });
  expect(steps[0]?.loss).toBeCloseTo(full[0]?.loss ?? NaN, 6);
  const trained = openTrainedWeights(inWork('adapters'));
  trained.close();
  const { adapters } = trained;
  if (adapters?.kind !== 'low-rank') throw new Error('LoRA has low-rank adapters');
  expect(adapters.magnitude).toBe(false);
  expect([...adapters.roles.keys()]).toEqual(expect.arrayContaining(['query', 'output', 'expertUp']));
  for (const size of adapters.roles.values()) expect(size).toEqual({ rank: 4, alpha: 8 });
  // Two matrices beside four projections of each of four layers, and beside three of each of their 16 experts.
  expect(trained.ids).toHaveLength(2 * 4 * (4 + 3 * 16));
  expect(trained.ids.every((id) => /\.lora[AB]$/.test(id))).toBe(true);
  const { bytes = Infinity } = openLatestCheckpoint(inWork('adapters'))?.info ?? {};
  const { bytes: whole = 0 } = openLatestCheckpoint(inWork('adapters-full'))?.info ?? {};
  expect(bytes).toBeLessThan(whole / 5);
});

test('SMT chooses sub-matrices in a warm-up, trains them from the checkpoint and nothing else', async () => {
  const { steps, events } = await run('submatrices', { method: smt });
  expect(events.filter((event) => event.includes('Warm-up: 2 steps'))).toHaveLength(1);
  // The warm-up is given up: the first step computes what the checkpoint does, on the first batch.
  const { steps: full } = await run('submatrices-full', {});
  expect(steps[0]?.loss).toBeCloseTo(full[0]?.loss ?? NaN, 6);
  expect(steps[0]?.gradNorm).toBeLessThan(full[0]?.gradNorm ?? 0);
  const trained = openTrainedWeights(inWork('submatrices'));
  const { adapters } = trained;
  if (adapters?.kind !== 'submatrices') throw new Error('there are sub-matrices');
  expect([...trained.ids].sort()).toEqual(
    [...adapters.places.keys()].map((id) => `${id}.submatrices`).sort(),
  );
  for (const [id, places] of adapters.places)
    expect(trained.read(`${id}.submatrices`)).toHaveLength(places.length * 16 * 16);
  trained.close();
  const count = [...adapters.places.values()].flat().length;
  expect(events.filter((event) => event.startsWith(`phase: ${count} sub-matrices of 16 × 16`))).toHaveLength(
    1,
  );
});

test('a warm-up can be stopped', async () => {
  const { outcome, steps } = await run('warm-up-stopped', { method: smt, command: () => 'stop' });
  expect([outcome, steps]).toEqual([{ state: 'stopped', step: 0 }, []]);
});

test('an adapter of another seed starts elsewhere', async () => {
  const of = async (name: string, seed: number) => {
    await run(name, { method: lora, seed, command: (asked) => (asked === 2 ? 'stop' : 'continue') });
    const weights = openTrainedWeights(inWork(name));
    const values = weights.read('layers.0.query.loraA');
    weights.close();
    return values;
  };
  expect(await of('seed-1', 1)).not.toEqual(await of('seed-2', 2));
});

test('default outputs in the value are written beside the run, and another run starts from them', async () => {
  await run('defaults', { method: defaults });
  const dir = inWork('defaults');
  const weights = openTrainedWeights(dir);
  weights.close();
  const written = readFileSync(join(dir, 'default_outputs.safetensors'));
  const kept = (weights.method as { outputs: string[] }).outputs.map((text) => Buffer.from(text, 'base64'));
  expect(written.subarray(-4 * 16 * 128 * 4)).toEqual(Buffer.concat(kept));
  const method = { name: 'default-moe', options: { defaultsIn: 'value', defaultsFile: dir } } as const;
  const again = await run('defaults-again', { method, model: join(sample, 'sample-moe') });
  const first = await run('defaults-none', { method: defaults });
  // The first validation already has them.
  expect(again.evaluations[0]?.loss).not.toBe(first.evaluations[0]?.loss);
});

test('a hash table is written beside the run, follows the data and is the same wherever the run goes on', async () => {
  await run('hash', { method: { name: 'hash-routing' } });
  const written = (name: string) => readFileSync(join(inWork(name), 'token_experts.safetensors'));
  const random = { name: 'hash-routing', options: { table: 'random' } } as const;
  await run('hash-random', { method: random });
  expect(written('hash').equals(written('hash-random'))).toBe(false);
  const given = { name: 'hash-routing', options: { tableFile: inWork('hash') } };
  const again = await run('hash-given', { method: given, seed: 5 });
  expect(again.outcome.state).toBe('completed');
  expect(written('hash-given').equals(written('hash'))).toBe(true);
});

test('StableMoE freezes the router in the middle of a run: the balancing loss ends, and the table is written', async () => {
  const { events, steps } = await run('stable', { method: stable });
  expect(events.filter((event) => event.startsWith('phase: Stage 2 begins:'))).toHaveLength(1);
  expect(steps.map(({ auxLoss }) => auxLoss !== undefined)).toEqual([true, true, true, false, false, false]);
  const method = { name: 'hash-routing', options: { tableFile: inWork('stable') } };
  const table = readFileSync(join(inWork('stable'), 'token_experts.safetensors'));
  await run('stable-hash', { method });
  expect(readFileSync(join(inWork('stable-hash'), 'token_experts.safetensors')).equals(table)).toBe(true);
});

test('ESFT routes a sample, trains the experts it uses most and nothing else, and writes the published file', async () => {
  const { outcome, events, steps, routing } = await run('experts', { method: esft });
  expect(outcome).toEqual({ state: 'completed', step: 6 });
  expect(steps.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  const dir = inWork('experts');
  const scores = readExpertScores(dir);
  const { experts } = readExpertConfig(dir);
  expect([...experts.values()]).toEqual(
    [...(scores?.token.values() ?? [])].map((layer) => selectExperts(layer, 0.3)),
  );
  const chosen = [...experts.values()].flat().length;
  expect(chosen).toBeGreaterThanOrEqual(4);
  expect(events.filter((event) => event.startsWith(`phase: ${chosen} of 64 experts train`))).toHaveLength(1);
  expect(routing[0]?.gradNorm_LE?.filter((norm) => !Number.isNaN(norm))).toHaveLength(chosen);
  const trained = openTrainedWeights(dir);
  trained.close();
  const wanted = [...experts].flatMap(([layer, list]) =>
    list.flatMap((expert) =>
      ['expertGate', 'expertUp', 'expertDown'].map((role) => `layers.${layer}.experts.${expert}.${role}`),
    ),
  );
  expect([...trained.ids].sort()).toEqual(wanted.sort());
  for (const layer of scores?.token.values() ?? [])
    expect(layer.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 12);
  // A gate value is a part of a softmax: its mean over all tokens is below the share of tokens that chose the expert.
  scores?.gate.forEach((layer, index) =>
    layer.forEach((gate, e) => expect(gate).toBeLessThanOrEqual(2 * (scores.token.get(index)?.[e] ?? NaN))),
  );
  // The same experts from the file.
  const again = await run('experts-of-file', { method: { name: 'esft', options: { expertConfig: dir } } });
  expect(again.outcome.state).toBe('completed');
  expect(stateHash('experts-of-file')).toBe(stateHash('experts'));
});

test('a file of experts with other layers is refused', async () => {
  const file = inWork('from-one.json');
  const of = (layers: readonly number[]) =>
    JSON.stringify({ experts: Object.fromEntries(layers.map((l) => [l, [l]])) });
  writeFileSync(file, of([1, 2, 3, 4]));
  const error = await failure(
    run('wrong-layers', { method: { name: 'esft', options: { expertConfig: file } } }),
  );
  expect(error.code).toBe('expert-file/layers');
  expect(error.message).toContain('has layers 1, 2, 3, 4; expected for this model are 0, 1, 2, 3');
  const method = { name: 'esft', options: { expertConfig: file, layerKeys: 'fromOne' } };
  await run('from-one', { method });
  // The last write of the run names the layers from zero.
  expect([...readExpertConfig(inWork('from-one')).experts]).toEqual([
    [0, [1]],
    [1, [2]],
    [2, [3]],
    [3, [4]],
  ]);
});
