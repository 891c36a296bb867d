import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { Evaluation, RoutingRecord, StepMetrics } from '#core/contract/metrics.ts';
import {
  parseRunSpec,
  type FrozenExperts,
  type MomentFormat,
  type Packing,
  type RunSpecInput,
} from '#core/contract/run-spec.ts';
import {
  openLatestCheckpoint,
  readBiasStates,
  readExpertConfig,
  readExpertScores,
  readForcedExperts,
} from '#worker/checkpoint/index.ts';
import { Executor } from '#worker/engine/index.ts';
import { selectExperts } from '#worker/methods/index.ts';
import { openTrainedWeights } from './trainer-state.ts';
import { train } from './trainer.ts';
import type { TrainingCommand, TrainingOutcome } from './training-run.ts';

const sample = join(import.meta.dirname, '../../resources/sample');
let work = '';
let data = '';

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'condenser-train-'));
  data = join(work, 'rows.jsonl');
  const rows = readFileSync(join(sample, 'data/word-problems.jsonl'), 'utf8').split('\n').slice(0, 60);
  writeFileSync(data, `${rows.join('\n')}\n`);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Recorded {
  readonly outcome: TrainingOutcome;
  readonly steps: StepMetrics[];
  readonly routing: RoutingRecord[];
  readonly evaluations: Evaluation[];
  readonly events: string[];
}

type Method = RunSpecInput['method'];

/** Trains 6 steps of 2 micro-batches. `command` is asked before each micro-batch, which count from 0. */
async function run(
  name: string,
  options: {
    method?: Method;
    resume?: boolean;
    learningRate?: number;
    seed?: number;
    model?: string;
    rows?: string;
    moments?: MomentFormat;
    packing?: Packing;
    frozenExperts?: FrozenExperts;
    command?: (asked: number) => TrainingCommand;
  } = {},
): Promise<Recorded> {
  const runDir = join(work, name);
  mkdirSync(runDir, { recursive: true });
  const spec = parseRunSpec({
    model: { path: options.model ?? join(sample, 'sample-moe') },
    data: {
      train: [{ path: options.rows ?? data }],
      validation: { fraction: 0.1 },
      maxLength: 128,
      ...(options.packing !== undefined && { packing: options.packing }),
    },
    method: options.method ?? { name: 'full' },
    train: {
      steps: 6,
      microBatch: 2,
      gradientAccumulation: 2,
      learningRate: options.learningRate ?? 1e-4,
      warmupRatio: 0,
      ...(options.seed !== undefined && { seed: options.seed }),
      ...(options.moments && { optimizer: { moments: options.moments } }),
    },
    evaluate: { everySteps: 3 },
    checkpoint: { everySteps: 2, keep: 2 },
    engine: { threads: 1, ...(options.frozenExperts && { frozenExperts: options.frozenExperts }) },
  });
  const recorded = {
    steps: [] as StepMetrics[],
    routing: [] as RoutingRecord[],
    evaluations: [] as Evaluation[],
    events: [] as string[],
  };
  let asked = 0;
  const outcome = await train({
    spec,
    runDir,
    cacheDir: join(work, 'cache'),
    resume: options.resume ?? false,
    control: { next: () => options.command?.(asked++) ?? 'continue' },
    observer: {
      prepared: () => undefined,
      step: (metrics, routing) => {
        recorded.steps.push(metrics);
        if (routing) recorded.routing.push(routing);
      },
      evaluation: (evaluation) => recorded.evaluations.push(evaluation),
      placed: () => undefined,
      checkpoint: () => undefined,
      event: (kind, _step, message) => recorded.events.push(`${kind}: ${message}`),
      progress: () => undefined,
    },
  });
  return { outcome, ...recorded };
}

function eightRows(): string {
  const rows = join(work, 'eight.jsonl');
  writeFileSync(rows, readFileSync(data, 'utf8').split('\n').slice(0, 8).join('\n'));
  return rows;
}

/** Hash of weights and moments in the newest checkpoint. */
function stateHash(name: string): string {
  const checkpoint = openLatestCheckpoint(join(work, name));
  expect(checkpoint).toBeDefined();
  checkpoint?.tensors.close();
  return createHash('sha256')
    .update(readFileSync(join(checkpoint?.info.path ?? '', 'tensors.safetensors')))
    .digest('hex');
}

const condensers: Method = {
  name: 'expert-condenser',
  options: { phase: 'both', biasSpeed: 0.0625, condenserBiasSpeed: 0.03125 },
};

const lora: Method = { name: 'lora', options: { rank: 4, alpha: 8 } };

const defaults: Method = { name: 'default-moe', options: { defaultsIn: 'value' } };
const smt: Method = {
  name: 'smt',
  options: { warmUpSteps: 2, blockSize: 16, attentionShare: 0.02, mlpShare: 0.03 },
};

const stable: Method = { name: 'stablemoe', options: { stageSplit: 0.5 } };

const esft: Method = { name: 'esft', options: { share: 0.3, sampleTokens: 500 } };

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

test('condensers are chosen in the middle of a run of both phases, and the published files are written', async () => {
  const { events, routing } = await run('phases', { method: condensers });
  expect(
    events.filter((event) => event.startsWith('phase: Condenser phase begins: 8 condensers')),
  ).toHaveLength(1);
  expect(routing.map(({ condensers: chosen }) => chosen?.length ?? 0)).toEqual([0, 0, 4, 4, 4, 4]);
  const dir = join(work, 'phases');
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
  const trained = openTrainedWeights(join(work, 'adapters'));
  trained.close();
  const { adapters } = trained;
  if (adapters?.kind !== 'low-rank') throw new Error('LoRA has low-rank adapters');
  expect(adapters.magnitude).toBe(false);
  expect([...adapters.roles.keys()]).toEqual(expect.arrayContaining(['query', 'output', 'expertUp']));
  for (const size of adapters.roles.values()) expect(size).toEqual({ rank: 4, alpha: 8 });
  // Two matrices beside four projections of each of four layers, and beside three of each of their 16 experts.
  expect(trained.ids).toHaveLength(2 * 4 * (4 + 3 * 16));
  expect(trained.ids.every((id) => /\.lora[AB]$/.test(id))).toBe(true);
  const { bytes = Infinity } = openLatestCheckpoint(join(work, 'adapters'))?.info ?? {};
  const { bytes: whole = 0 } = openLatestCheckpoint(join(work, 'adapters-full'))?.info ?? {};
  expect(bytes).toBeLessThan(whole / 5);
});

test('every micro-batch of a run has a place of its own, which dropout draws by', async () => {
  const trained = vi.spyOn(Executor.prototype, 'train');
  await run('places', { rows: eightRows(), method: lora });
  const places = trained.mock.calls.map(([, , , place]) => place);
  expect(places).toEqual(
    [0, 1, 2, 3, 4, 5].flatMap((step) => [0, 1].map((microBatch) => ({ step, microBatch }))),
  );
  trained.mockRestore();
});

test('SMT chooses sub-matrices in a warm-up, trains them from the checkpoint and nothing else', async () => {
  const { steps, events } = await run('submatrices', { method: smt });
  expect(events.filter((event) => event.includes('Warm-up: 2 steps'))).toHaveLength(1);
  // The warm-up is given up: the first step computes what the checkpoint does, on the first batch.
  const { steps: full } = await run('submatrices-full', {});
  expect(steps[0]?.loss).toBeCloseTo(full[0]?.loss ?? NaN, 6);
  expect(steps[0]?.gradNorm).toBeLessThan(full[0]?.gradNorm ?? 0);
  const trained = openTrainedWeights(join(work, 'submatrices'));
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
    const weights = openTrainedWeights(join(work, name));
    const values = weights.read('layers.0.query.loraA');
    weights.close();
    return values;
  };
  expect(await of('seed-1', 1)).not.toEqual(await of('seed-2', 2));
});

test('default outputs in the value are written beside the run, and another run starts from them', async () => {
  await run('defaults', { method: defaults });
  const dir = join(work, 'defaults');
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
  const written = (name: string) => readFileSync(join(work, name, 'token_experts.safetensors'));
  const random = { name: 'hash-routing', options: { table: 'random' } } as const;
  await run('hash-random', { method: random });
  expect(written('hash').equals(written('hash-random'))).toBe(false);
  const given = { name: 'hash-routing', options: { tableFile: join(work, 'hash') } };
  const again = await run('hash-given', { method: given, seed: 5 });
  expect(again.outcome.state).toBe('completed');
  expect(written('hash-given').equals(written('hash'))).toBe(true);
});

test('StableMoE freezes the router in the middle of a run: the balancing loss ends, and the table is written', async () => {
  const { events, steps } = await run('stable', { method: stable });
  expect(events.filter((event) => event.startsWith('phase: Stage 2 begins:'))).toHaveLength(1);
  expect(steps.map(({ auxLoss }) => auxLoss !== undefined)).toEqual([true, true, true, false, false, false]);
  const method = { name: 'hash-routing', options: { tableFile: join(work, 'stable') } };
  const table = readFileSync(join(work, 'stable', 'token_experts.safetensors'));
  await run('stable-hash', { method });
  expect(readFileSync(join(work, 'stable-hash', 'token_experts.safetensors')).equals(table)).toBe(true);
});

test('ESFT routes a sample, trains the experts it uses most and nothing else, and writes the published file', async () => {
  const { outcome, events, steps, routing } = await run('experts', { method: esft });
  expect(outcome).toEqual({ state: 'completed', step: 6 });
  expect(steps.every(({ loss }) => Number.isFinite(loss))).toBe(true);
  const dir = join(work, 'experts');
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
  const file = join(work, 'from-one.json');
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
  expect([...readExpertConfig(join(work, 'from-one')).experts]).toEqual([
    [0, [1]],
    [1, [2]],
    [2, [3]],
    [3, [4]],
  ]);
});

test('discard stops without another checkpoint', async () => {
  const { outcome } = await run('discard', { command: (asked) => (asked === 6 ? 'discard' : 'continue') });
  expect(outcome).toEqual({ state: 'stopped', step: 3 });
  const checkpoint = openLatestCheckpoint(join(work, 'discard'));
  checkpoint?.tensors.close();
  expect(checkpoint?.info.step).toBe(2);
});

async function failure(work_: Promise<unknown>): Promise<UserError> {
  const error: unknown = await work_.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
}

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
  expect(existsSync(join(work, 'explodes', 'failed-batch.json'))).toBe(true);
});

test('a weight that is no number is named', async () => {
  const model = join(work, 'nan-model');
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
  const error = await failure(run('nan', { model }));
  expect(error.code).toBe('model/non-finite-weight');
  expect(error.message).toContain('model.layers.1.mlp.gate.weight');
});
