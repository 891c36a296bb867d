/**
 * Measures training speed, memory and time to the first step beside another implementation, on the same checkpoint and the
 * same token ids, in turns (A B A B A B), and prints medians and their ratios.
 *
 * Usage: node scripts/bench-peer.ts --model MODEL --peer DIR --python PYTHON [--method full] [--batch 4] [--seq 256]
 *   [--steps 5] [--repeats 3] [--dtype fp32,amp] [--quiet CORES] [--json] [--generate]
 *   [--no-first-step] [--frozen-experts stored|int8|int8-products]
 *
 * --dtype names what the other side computes in, one after the other in each turn; ours is float32 but for what --frozen-experts
 * rounds. `amp` (float32 weights, products in bfloat16) is the fastest on processors that have such products.
 *
 * With --no-first-step the time to the first step is not measured, which on large models takes longer than all the others.
 * With --quiet each measurement waits until other programs use fewer cores than that, and is made again (five times at
 * most) when they used more meanwhile: what is measured beside a busy program says little.
 *
 * DIR holds `peer_train.py` (options --model --method --batch --seq --steps --dtype --tokens, one JSON line with
 * `tokens_per_s`, `peak_rss_mb`, `losses` …) and `cold_start.py` (--model --repeat, `to_first_step_s_median`). With --generate
 * greedy generation is measured instead, beside `peer_eval.py` (--model --dtype, `generate_b1_tokens_per_s_best` …): 64 tokens
 * after 64, one prompt and eight at once, the best of each process.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeTemporaryFolder } from '#core/process/temporary-folder.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { measureLoad } from '../worker/headless/commands/bench/machine-load.ts';

const root = path.resolve(import.meta.dirname, '..');
/** Steps whose ids are in the file; both sides begin again after the last. */
const STEPS_OF_TOKENS = 8;
/** With --quiet: measurements before a disturbed one is taken, and seconds to wait for each. */
const ATTEMPTS = 5;
const LONGEST_WAIT_S = 300;

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    peer: { type: 'string' },
    python: { type: 'string' },
    method: { type: 'string', default: 'full' },
    batch: { type: 'string', default: '4' },
    seq: { type: 'string', default: '256' },
    steps: { type: 'string', default: '5' },
    repeats: { type: 'string', default: '3' },
    dtype: { type: 'string', default: 'fp32,amp' },
    quiet: { type: 'string' },
    json: { type: 'boolean', default: false },
    generate: { type: 'boolean', default: false },
    'no-first-step': { type: 'boolean', default: false },
    'frozen-experts': { type: 'string', default: 'stored' },
  },
});
const { model, peer, python } = options;
const dtypes = options.dtype.split(',');
if (model === undefined || peer === undefined || python === undefined) {
  console.error('bench-peer needs --model, --peer and --python; see the head of scripts/bench-peer.ts');
  process.exit(2);
}

/** What one process measured. */
interface Measurement {
  readonly tokensPerSecond: number;
  readonly tokensPerCoreSecond: number;
  /** Megabytes of 10^6 bytes. */
  readonly peakMB: number;
  /** Seconds from the start of the process to the end of the first step; null with --no-first-step. */
  readonly firstStep: number | null;
  readonly losses: readonly number[];
  /** Cores busy for other programs. */
  readonly othersCores: number;
}

/** Greedy generation in tokens per second, for one prompt and for eight. */
interface Generation {
  readonly one: number;
  readonly eight: number;
  readonly peakMB: number;
  readonly othersCores: number;
}

if (options.generate) {
  await compareGeneration(model, python, peer);
  process.exit(0);
}
const folder = makeTemporaryFolder('bench');
try {
  const tokens = writeTokens(folder);
  const ours: Measurement[] = [];
  const theirs = new Map(dtypes.map((dtype) => [dtype, [] as Measurement[]]));
  for (let repeat = 0; repeat < Number(options.repeats); repeat++) {
    ours.push(await quietly(() => measureOurs(model, tokens.ours)));
    console.error(`${repeat + 1}: ${summary('ours', ours.at(-1))}`);
    for (const [dtype, measured] of theirs) {
      measured.push(await quietly(() => measurePeer(model, tokens.peer, python, peer, dtype)));
      console.error(`   ${summary(`peer ${dtype}`, measured.at(-1))}`);
    }
  }
  report(ours, theirs);
} finally {
  rmSync(folder, { recursive: true });
}

/**
 * Ids from 2 on, by a linear congruential generator: any will do, if both sides read the same. The peer looks at the ids of
 * one step before it trains, so ours begin one step later.
 */
function writeTokens(dir: string): { readonly ours: string; readonly peer: string } {
  const config = JSON.parse(readFileSync(path.join(model ?? '', 'config.json'), 'utf8')) as {
    vocab_size: number;
  };
  const perStep = Number(options.batch) * Number(options.seq);
  const ids = new Uint32Array(perStep * STEPS_OF_TOKENS);
  let state = 1234;
  for (let i = 0; i < ids.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    ids[i] = 2 + Math.floor((state / 2 ** 32) * (config.vocab_size - 2));
  }
  const write = (name: string, values: Uint32Array): string => {
    const file = path.join(dir, name);
    writeFileSync(file, new Uint8Array(values.buffer));
    return file;
  };
  const later = Uint32Array.from(ids, (_, i) => ids[(i + perStep) % ids.length] ?? 0);
  return { ours: write('ours.u32', later), peer: write('peer.u32', ids) };
}

/** Measures while the machine is quiet, where that was asked for; the least disturbed of the attempts otherwise. */
async function quietly<T extends { readonly othersCores: number }>(measure: () => T): Promise<T> {
  const limit = options.quiet === undefined ? Infinity : Number(options.quiet);
  const attempts: T[] = [];
  while (attempts.length < ATTEMPTS) {
    if (limit < Infinity) await quiet(limit);
    const measured = measure();
    attempts.push(measured);
    if (!(measured.othersCores > limit)) break;
  }
  return attempts.toSorted((a, b) => a.othersCores - b.othersCores)[0] ?? measure();
}

/** Waits until other programs use at most `limit` cores, but not forever. */
async function quiet(limit: number): Promise<void> {
  for (let waited = 0; waited < LONGEST_WAIT_S; waited += 2) {
    const load = measureLoad();
    await sleep(2000);
    if ((load() ?? 0) <= limit) return;
  }
}

function measureOurs(modelDir: string, tokens: string): Measurement {
  const bench = (...more: string[]) =>
    run(process.execPath, [
      path.join(root, 'worker/headless/cli.ts'),
      'bench',
      '--json',
      '--model',
      modelDir,
      ...more,
    ]) as {
      tokensPerSecond: { median: number };
      tokensPerCoreSecond: number;
      peakRssMB: number;
      firstStepMs: number;
      losses: number[];
      othersCores?: number;
    };
  const { method, batch, seq, steps } = options;
  const trained = bench(
    '--frozen-experts',
    options['frozen-experts'],
    '--method',
    method,
    '--batch',
    batch,
    '--seq',
    seq,
    '--steps',
    steps,
    '--tokens',
    tokens,
  );
  const cold = options['no-first-step'] ? null : bench('--batch', '1', '--seq', '256', '--steps', '1');
  return {
    tokensPerSecond: trained.tokensPerSecond.median,
    tokensPerCoreSecond: trained.tokensPerCoreSecond,
    peakMB: trained.peakRssMB,
    firstStep: cold === null ? null : cold.firstStepMs / 1000,
    losses: trained.losses,
    othersCores: trained.othersCores ?? NaN,
  };
}

function measurePeer(
  modelDir: string,
  tokens: string,
  executable: string,
  dir: string,
  dtype: string,
): Measurement {
  const { method, batch, seq, steps } = options;
  const trained = run(
    executable,
    [
      [path.join(dir, 'peer_train.py')],
      ['--model', modelDir, '--method', method, '--batch', batch, '--seq', seq, '--steps', steps],
      ['--dtype', dtype, '--tokens', tokens],
      // Which experts train is found by a probe; only this form computes no gradient of the others.
      method === 'esft' ? ['--experts', 'split'] : ['--skip-probe'],
    ].flat(),
  ) as {
    tokens_per_s: number;
    tokens_per_core_second: number;
    peak_rss_mb: number;
    losses: number[];
    others_cores: number;
  };
  const coldStart = [path.join(dir, 'cold_start.py'), '--model', modelDir, '--repeat', '1'];
  const cold = options['no-first-step']
    ? null
    : (run(executable, coldStart) as { to_first_step_s_median: number });
  return {
    tokensPerSecond: trained.tokens_per_s,
    tokensPerCoreSecond: trained.tokens_per_core_second,
    // It counts units of 2^20 bytes.
    peakMB: trained.peak_rss_mb * 1.048576,
    firstStep: cold?.to_first_step_s_median ?? null,
    losses: trained.losses,
    othersCores: trained.others_cores,
  };
}

async function compareGeneration(modelDir: string, executable: string, dir: string): Promise<void> {
  const ours: Generation[] = [];
  const theirs = new Map(
    dtypes.filter((dtype) => dtype !== 'amp').map((dtype) => [dtype, [] as Generation[]]),
  );
  for (let repeat = 0; repeat < Number(options.repeats); repeat++) {
    ours.push(await quietly(() => generateOurs(modelDir)));
    for (const [dtype, measured] of theirs)
      measured.push(await quietly(() => generatePeer(modelDir, executable, dir, dtype)));
  }
  for (const [dtype, measured] of theirs) {
    for (const field of ['one', 'eight', 'peakMB'] as const) {
      const of = (side: readonly Generation[]) => median(side.map((each) => each[field]));
      console.log(compared(field, of(ours), of(measured), dtype));
    }
  }
}

function generateOurs(modelDir: string): Generation {
  const measured = run(process.execPath, [
    path.join(root, 'worker/headless/cli.ts'),
    'bench',
    '--generate',
    '--json',
    '--model',
    modelDir,
    '--steps',
    '3',
  ]) as { generation: { tokensPerSecond: number }[]; peakRssMB: number; othersCores?: number };
  const [one, eight] = measured.generation.map(({ tokensPerSecond }) => tokensPerSecond);
  return {
    one: one ?? NaN,
    eight: eight ?? NaN,
    peakMB: measured.peakRssMB,
    othersCores: measured.othersCores ?? NaN,
  };
}

function generatePeer(modelDir: string, executable: string, dir: string, dtype: string): Generation {
  const measured = run(executable, [
    path.join(dir, 'peer_eval.py'),
    '--model',
    modelDir,
    '--dtype',
    dtype,
  ]) as {
    generate_b1_tokens_per_s_best: number;
    generate_b8_tokens_per_s_best: number;
    peak_rss_mb: number;
    others_cores: number;
  };
  return {
    one: measured.generate_b1_tokens_per_s_best,
    eight: measured.generate_b8_tokens_per_s_best,
    peakMB: measured.peak_rss_mb * 1.048576,
    othersCores: measured.others_cores,
  };
}

/** Runs a program and parses the last line it printed. */
function run(program: string, args: readonly string[]): unknown {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, OMP_WAIT_POLICY: 'PASSIVE' },
    maxBuffer: 1e8,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(half)] ?? NaN) + (sorted[Math.ceil(half)] ?? NaN)) / 2;
}

function summary(name: string, measured: Measurement | undefined): string {
  if (measured === undefined) return '';
  const { tokensPerSecond, peakMB, firstStep, othersCores } = measured;
  const first = firstStep === null ? '' : `first step ${firstStep.toFixed(2)} s, `;
  return `${name} ${tokensPerSecond.toFixed(0)} tok/s, ${peakMB.toFixed(0)} MB, ${first}others ${othersCores.toFixed(2)} cores`;
}

function report(ours: readonly Measurement[], theirs: ReadonlyMap<string, readonly Measurement[]>): void {
  const fields = ['tokensPerSecond', 'tokensPerCoreSecond', 'peakMB', 'firstStep'] as const;
  const isMeasured = (field: (typeof fields)[number]) => ours.every((each) => each[field] !== null);
  const rows = [...theirs].flatMap(([dtype, measured]) =>
    fields.filter(isMeasured).map((field) => {
      const of = (side: readonly Measurement[]) => median(side.map((each) => each[field] ?? NaN));
      return { field, dtype, ours: of(ours), peer: of(measured), ratio: of(ours) / of(measured) };
    }),
  );
  const lossDifferences = [...theirs].map(([dtype, [first]]) => ({
    dtype,
    largest: Math.max(
      ...(ours[0]?.losses ?? []).map((loss, i) => Math.abs(loss - (first?.losses[i] ?? NaN))),
    ),
  }));
  if (options.json) {
    console.log(
      JSON.stringify({ ...options, rows, lossDifferences, ours, theirs: Object.fromEntries(theirs) }),
    );
    return;
  }
  for (const { field, dtype, ours: a, peer: b } of rows) console.log(compared(field, a, b, dtype));
  for (const { dtype, largest } of lossDifferences)
    console.log(`largest difference of a step's loss: ${largest.toExponential(1)}  (${dtype})`);
}

function compared(field: string, ours: number, theirs: number, dtype: string): string {
  return `${field.padEnd(20)} ours ${ours.toPrecision(4)}  peer ${theirs.toPrecision(4)}  ours ÷ peer ${(ours / theirs).toFixed(2)}  (${dtype})`;
}
