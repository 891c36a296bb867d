/** A run of any method: its records, how it stops and goes on, and what ends it. */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { FrozenExperts, MomentFormat, Packing } from '#core/contract/run-spec.ts';
import { openLatestCheckpoint } from '#worker/checkpoint/index.ts';
import { Executor } from '#worker/engine/index.ts';
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
  stateHash,
  workingFolder,
  type Method,
} from './trainer.fixture.ts';

workingFolder();

test('eight rows are learnt, every step has metrics and routing, evaluations come when asked for', async () => {
  const rows = eightRows();
  const { outcome, steps, routing, evaluations } = await run('learns', { rows, learningRate: 5e-4 });
  expect(outcome).toEqual({ state: 'completed', step: 6 });
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(steps.at(-1)?.loss).toBeLessThan((steps[0]?.loss ?? 0) * 0.8);
  expect(evaluations.map(({ step }) => step)).toEqual([0, 3, 6]);
  // 2 choices for each non-padding token in each of 4 layers.
  const choices = routing[0]?.counts_LE.reduce((sum, count) => sum + count, 0);
  expect(choices).toBe((steps[0]?.tokens ?? 0) * 2 * 4);
  // Softmax scores of a token add up to one in each layer.
  const soft = routing[0]?.soft_LE?.reduce((sum, value) => sum + value, 0) ?? 0;
  expect(soft / ((steps[0]?.tokens ?? 0) * 4)).toBeCloseTo(1, 5);
  // Experts hold a part of the whole gradient, which has attention and embeddings besides.
  const ofExperts = Math.sqrt(routing[0]?.gradNorm_LE?.reduce((sum, norm) => sum + norm ** 2, 0) ?? 0);
  expect(ofExperts).toBeGreaterThan(0.05 * (steps[0]?.gradNorm ?? 0));
  expect(ofExperts).toBeLessThan(steps[0]?.gradNorm ?? 0);
});

const resumed: readonly (readonly [
  string,
  Method,
  { moments?: MomentFormat; packing?: Packing; frozenExperts?: FrozenExperts }?,
])[] = [
  ['full', { name: 'full' }],
  ['condensers', condensers],
  ['esft', esft],
  ['lora', lora],
  ['lora-dropout', { name: 'lora', options: { rank: 4, dropout: 0.25 } }],
  ['condensers-lora', { name: 'expert-condenser', options: { biasSpeed: 0.0625, adapters: { rank: 2 } } }],
  ['default-outputs', defaults],
  ['dora', { name: 'dora', options: { rank: 2, targets: ['experts'] } }],
  ['smt', smt],
  ['loss-free', { name: 'loss-free-balancing', options: { biasSpeed: 0.0625, baseKlCoefficient: 0.1 } }],
  ['gate', { name: 'transformed-gate' }],
  ['local', { name: 'local-expert' }],
  ['evomoe', { name: 'evomoe', options: { diversifyShare: 0.6 } }],
  ['hash', { name: 'hash-routing' }],
  ['stable-early', { name: 'stablemoe', options: { stageSplit: 0.8 } }],
  ['stable-late', { name: 'stablemoe', options: { stageSplit: 0.5 } }],
  ['bfloat16-moments', { name: 'full' }, { moments: 'bfloat16' }],
  ['float8-moments', lora, { moments: 'float8' }],
  ['buckets', lora, { packing: 'buckets' }],
  [
    'compose',
    {
      name: 'compose',
      options: { methods: [lora, condensers, { name: 'full', options: { zLossCoefficient: 0.01 } }] },
    },
  ],
  ['int8-experts', esft, { frozenExperts: 'int8' }],
  ['int8-products', esft, { frozenExperts: 'int8-products' }],
];
for (const [name, method, settings] of resumed) {
  test(`a run stopped in the middle of a step and resumed ends with the same bits (${name})`, async () => {
    await run(`${name}-whole`, { method, ...settings });
    // Micro-batch 7 is the second one of the fourth step; a warm-up has two steps before.
    const last = name === 'smt' ? 4 + 7 : 7;
    const first = await run(`${name}-parts`, {
      method,
      ...settings,
      command: (asked) => (asked === last ? 'stop' : 'continue'),
    });
    expect(first.outcome).toEqual({ state: 'stopped', step: 3 });
    const second = await run(`${name}-parts`, { method, ...settings, resume: true });
    expect(second.outcome).toEqual({ state: 'completed', step: 6 });
    expect(second.steps.map(({ step }) => step)).toEqual([4, 5, 6]);
    expect(stateHash(`${name}-parts`)).toBe(stateHash(`${name}-whole`));
  });
}

test('every micro-batch of a run has a place of its own, which dropout draws by', async () => {
  const trained = vi.spyOn(Executor.prototype, 'train');
  await run('places', { rows: eightRows(), method: lora });
  const places = trained.mock.calls.map(([, , , place]) => place);
  expect(places).toEqual(
    [0, 1, 2, 3, 4, 5].flatMap((step) => [0, 1].map((microBatch) => ({ step, microBatch }))),
  );
  trained.mockRestore();
});

test('discard stops without another checkpoint', async () => {
  const { outcome } = await run('discard', { command: (asked) => (asked === 6 ? 'discard' : 'continue') });
  expect(outcome).toEqual({ state: 'stopped', step: 3 });
  const checkpoint = openLatestCheckpoint(inWork('discard'));
  checkpoint?.tensors.close();
  expect(checkpoint?.info.step).toBe(2);
});

test('a run is only resumed as itself', async () => {
  await run('itself', { command: (asked) => (asked === 2 ? 'stop' : 'continue') });
  expect((await failure(run('itself', { resume: true, learningRate: 1e-3 }))).code).toBe(
    'resume/different-run',
  );
  expect((await failure(run('nothing-yet', { resume: true }))).code).toBe('resume/no-checkpoint');
});

test('a loss that is no number ends the run before the update and saves the batch', async () => {
  const error = await failure(run('explodes', { learningRate: 1e30 }));
  expect(error.code).toBe('train/non-finite');
  expect(existsSync(join(inWork('explodes'), 'failed-batch.json'))).toBe(true);
});

test('a weight that is no number is named', async () => {
  const model = inWork('nan-model');
  cpSync(join(sample, 'sample-moe'), model, { recursive: true });
  const file = join(model, 'model.safetensors');
  const bytes = readFileSync(file);
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const at = header['model.layers.1.mlp.gate.weight']?.data_offsets[0] ?? 0;
  bytes.writeUInt16LE(0x7fc0, 8 + Number(bytes.readBigUInt64LE(0)) + at);
  writeFileSync(file, bytes);
  const command = vi.fn<() => 'continue'>(() => 'continue');
  const error = await failure(run('nan', { model, command }));
  expect(error.code).toBe('model/non-finite-weight');
  // The evaluation before the first step has seen it: its loss would be a number that no database takes.
  expect(command).not.toHaveBeenCalled();
  expect(error.message).toContain('model.layers.1.mlp.gate.weight');
});
