/** What a run survives: real processes, the real trainer, the bundled sample. Slow; protocol details have quick tests elsewhere. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { hostApi } from '#core/contract/host-api.ts';
import { parseRunSpec, type RunSpecInput } from '#core/contract/run-spec.ts';
import type { Host } from '#core/host/index.ts';
import { openRunReader, type RunReader, runFiles } from '#core/store/index.ts';
import { openLatestCheckpoint } from '#worker/checkpoint/index.ts';
import { composeHost } from './compose-host.ts';

// A busy machine takes several times as long.
vi.setConfig({ testTimeout: 180_000 });

const root = path.join(import.meta.dirname, '../..');
const sample = path.join(root, 'resources/sample');
const gsm8k = path.join(root, '../shared/data/gsm8k/train.jsonl');

type Method = RunSpecInput['method'];
const full: Method = { name: 'full' };
const condensers: Method = {
  name: 'expert-condenser',
  options: { phase: 'both', condensersPerLayer: 2, biasSpeed: 0.01 },
};

/** Eight steps of four micro-batches, saved every three steps. */
const specOf = (method: Method): RunSpecInput => ({
  model: { path: path.join(sample, 'sample-moe') },
  data: {
    train: [{ path: path.join(sample, 'data/word-problems.jsonl') }],
    validation: { fraction: 0 },
    maxLength: 96,
  },
  method,
  train: { steps: 8, microBatch: 2, gradientAccumulation: 4, learningRate: 5e-4 },
  evaluate: { everySteps: null },
  checkpoint: { everySteps: 3, keep: 2 },
  engine: { threads: 1 },
});

let work = '';
let home = '';
const processes = new Set<ChildProcess>();
const hosts = new Set<Host>();

/** A run that nothing disturbed, by method. */
const undisturbed = { full: '', condensers: '' };

beforeAll(async () => {
  work = mkdtempSync(path.join(os.tmpdir(), 'condenser-faults-'));
  home = path.join(work, 'home');
  for (const [name, method] of [
    ['full', full],
    ['condensers', condensers],
  ] as const) {
    undisturbed[name] = path.join(work, `${name}-undisturbed`);
    const command = start(method, undisturbed[name]);
    if ((await command.closed) !== 0) throw new Error(JSON.stringify(command.lines.at(-1)));
  }
}, 120_000);
afterEach(async () => {
  for (const child of processes) child.kill('SIGKILL');
  processes.clear();
  for (const host of hosts) await host.close();
  hosts.clear();
});
afterAll(() => rmSync(work, { recursive: true, force: true, maxRetries: 5 }));

type Line = Readonly<Record<string, unknown>>;

/** `condenser` in a process of its own. */
class CommandLine {
  readonly lines: Line[] = [];
  /** Exit status. */
  readonly closed: Promise<number | null>;
  #rest = '';
  readonly #waiting = new Set<() => void>();

  constructor(...argv: readonly string[]) {
    const child = spawn(process.execPath, [path.join(import.meta.dirname, 'cli.ts'), ...argv, '--json'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    processes.add(child);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const parts = `${this.#rest}${text}`.split('\n');
      this.#rest = parts.pop() ?? '';
      for (const part of parts) this.lines.push(JSON.parse(part) as Line);
      for (const look of this.#waiting) look();
    });
    this.closed = new Promise((resolve) => {
      child.once('close', (code) => {
        processes.delete(child);
        for (const look of this.#waiting) look();
        resolve(code);
      });
    });
  }

  /** Resolves when a line of this type and step was read. */
  async said(type: string, step: number): Promise<void> {
    const found = () => this.lines.some((line) => line['type'] === type && line['step'] === step);
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (found()) resolve();
      };
      this.#waiting.add(look);
      look();
      void this.closed.then(() => resolve());
    });
    if (!found()) throw new Error(`no ${type} ${step} in ${JSON.stringify(this.lines)}`);
  }
}

function start(method: Method, runDir: string): CommandLine {
  const file = path.join(work, `${path.basename(runDir)}.json`);
  writeFileSync(file, JSON.stringify(specOf(method)));
  return new CommandLine('train', file, '--out', runDir, '--home', home);
}

const resume = (runDir: string): CommandLine => new CommandLine('train', runDir, '--resume', '--home', home);

function read<T>(runDir: string, look: (reader: RunReader) => T): T {
  const reader = openRunReader(runFiles(runDir).db);
  try {
    return look(reader);
  } finally {
    reader.close();
  }
}

/** The process that writes the run. */
function workerPid(runDir: string): number {
  const writer = read(runDir, (reader) => reader.writer());
  if (writer === null) throw new Error(`nobody has written ${runDir}`);
  return writer.pid;
}

const stepsOf = (runDir: string) => read(runDir, (reader) => reader.series().steps.map(({ step }) => step));
const savedSteps = (runDir: string) => read(runDir, (reader) => reader.checkpoints().map(({ step }) => step));

/** Everything a resumed run has to have in common with an undisturbed one, bit for bit. */
function resultOf(runDir: string) {
  const checkpoint = openLatestCheckpoint(runDir);
  if (checkpoint === undefined) throw new Error(`${runDir} has no checkpoint`);
  const { info, state, tensors } = checkpoint;
  tensors.close();
  const bytes = readFileSync(path.join(info.path, 'tensors.safetensors'));
  const steps = read(runDir, (reader) => reader.series().steps.map(({ step, loss }) => [step, loss]));
  return { step: info.step, state, tensors: createHash('sha256').update(bytes).digest('hex'), steps };
}

test('kill -9 in the middle of a step: resumed, the run ends with the bits of an undisturbed one', async () => {
  const runDir = path.join(work, 'killed-in-step');
  const command = start(condensers, runDir);
  await command.said('step', 4);
  process.kill(workerPid(runDir), 'SIGKILL');
  expect(await command.closed).toBe(1);
  expect(command.lines.at(-1)).toMatchObject({ type: 'ended', state: 'interrupted' });
  expect(savedSteps(runDir)).toEqual([3]);
  const steps = stepsOf(runDir);
  expect(steps).toEqual([1, 2, 3, 4, 5].slice(0, steps.length));

  expect(await resume(runDir).closed).toBe(0);
  expect(resultOf(runDir)).toEqual(resultOf(undisturbed.condensers));
});

test('kill -9 in the middle of a checkpoint: the one before counts, and the run ends with the same bits', async () => {
  const runDir = path.join(work, 'killed-in-checkpoint');
  const folder = runFiles(runDir).checkpoints;
  const partials = () => readdirSync(folder).filter((name) => name.endsWith('.partial'));
  let command = start(full, runDir);
  // Steps 6 and 8 are saved next. A signal that comes after the last byte proves nothing: then the other is tried.
  for (const step of [4, 7]) {
    await command.said('step', step);
    const pid = workerPid(runDir);
    const watcher = watch(folder, (_event, name) => {
      if (name?.endsWith('.partial') !== true) return;
      process.kill(pid, 'SIGKILL');
      watcher.close();
    });
    expect(await command.closed).toBe(1);
    watcher.close();
    if (partials().length > 0) break;
    command = resume(runDir);
  }
  expect(partials().length).toBe(1);
  const before = openLatestCheckpoint(runDir);
  before?.tensors.close();
  expect(before?.info.step).toBe(savedSteps(runDir).at(-1));

  expect(await resume(runDir).closed).toBe(0);
  expect(partials()).toEqual([]);
  expect(resultOf(runDir)).toEqual(resultOf(undisturbed.full));
});

test('a full disk: what was committed survives, and the run goes on once there is room', async ({ skip }) => {
  const disk = path.join(work, 'disk');
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', disk], { stdio: 'pipe' });
  } catch (error) {
    skip(`cannot mount a small disk: ${String(error)}`);
  }
  try {
    const runDir = path.join(disk, 'run');
    // A checkpoint has 25 MB: one fits, two do not.
    const command = start(full, runDir);
    expect(await command.closed).toBe(1);
    expect(command.lines.at(-1)).toMatchObject({ code: 'checkpoint/disk-full' });
    expect(stepsOf(runDir)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(savedSteps(runDir)).toEqual([3]);
    expect(read(runDir, (reader) => reader.outcome()?.error?.code)).toBe('checkpoint/disk-full');

    execFileSync('mount', ['-o', 'remount,size=120m', disk]);
    const ballast = path.join(disk, 'ballast');
    const second = resume(runDir);
    await second.said('step', 4);
    fill(ballast);
    expect(await second.closed).toBe(1);
    expect(second.lines.at(-1)).toMatchObject({ code: expect.stringMatching(/\/disk-full$/) as string });
    rmSync(ballast);
    const steps = stepsOf(runDir);
    expect(steps).toEqual([1, 2, 3, 4, 5, 6].slice(0, steps.length));
    expect(steps.length).toBeGreaterThanOrEqual(4);
    expect(savedSteps(runDir)).toEqual([3]);

    expect(await resume(runDir).closed).toBe(0);
    expect(resultOf(runDir)).toEqual(resultOf(undisturbed.full));
  } finally {
    for (const child of processes) child.kill('SIGKILL');
    execFileSync('umount', ['-l', disk]);
  }
});

/** Writes `file` until the disk is full. */
function fill(file: string): void {
  for (const size of [1 << 20, 1 << 12]) {
    try {
      for (;;) appendFileSync(file, new Uint8Array(size));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    }
  }
}

/** The run `id` once it has ended. */
async function ended(host: Host, id: string) {
  const detail = await host.runEnded(id);
  return hostApi.runs.get.output.parse(detail);
}

function open(): Host {
  const host = composeHost({ home: path.join(work, 'window') });
  hosts.add(host);
  return host;
}

test('a host that closes while a run goes on: saved, reopened, resumed, the same bits', async () => {
  const first = open();
  const id = first.startRun(parseRunSpec(specOf(condensers)));
  const runDir = first.runDir(id);
  await new Promise<void>((resolve) => {
    first.onPush((channel, payload) => {
      if (channel === 'runs.advanced' && (payload as { lastStep: number }).lastStep >= 4) resolve();
    });
  });
  hosts.delete(first);
  await first.close();
  const saved = savedSteps(runDir);

  const second = open();
  const reopened = hostApi.runs.get.output.parse(
    await second.call('runs.get', { id }).then((reply) => (reply.ok ? reply.value : reply)),
  );
  expect(reopened).toMatchObject({
    state: 'interrupted',
    reason: expect.stringContaining('saved') as string,
  });
  expect(reopened.lastStep).toBeLessThan(8);
  expect(saved.at(-1)).toBe(reopened.lastStep);
  expect(await second.call('runs.resume', { id })).toMatchObject({ ok: true });
  expect(await ended(second, id)).toMatchObject({ state: 'completed', lastStep: 8 });
  expect(resultOf(runDir)).toEqual(resultOf(undisturbed.condensers));
});

test('a second writer is refused from another data folder too, and the first goes on', async () => {
  const runDir = path.join(work, 'two-writers');
  const command = start(full, runDir);
  await command.said('step', 1);
  const pid = workerPid(runDir);
  // On a fast machine the first would be at its end before the second has looked.
  process.kill(pid, 'SIGSTOP');
  const other = new CommandLine('train', runDir, '--resume', '--home', path.join(work, 'other-home'));
  expect(await other.closed).toBe(2);
  process.kill(pid, 'SIGCONT');
  expect(other.lines.at(-1)).toMatchObject({ code: 'run/in-use' });
  expect(await command.closed).toBe(0);
  expect(resultOf(runDir)).toEqual(resultOf(undisturbed.full));
});

test.skipIf(!existsSync(gsm8k))(
  'fifty steps of GSM8K from the command line bring the loss down',
  async () => {
    const file = path.join(work, 'gsm8k.json');
    const spec: RunSpecInput = {
      ...specOf(full),
      data: { train: [{ path: gsm8k }], validation: { fraction: 0 }, maxLength: 128 },
      train: { steps: 50, microBatch: 4, gradientAccumulation: 1, learningRate: 2e-3 },
      checkpoint: { everySteps: 100 },
    };
    writeFileSync(file, JSON.stringify(spec));
    const command = new CommandLine('train', file, '--out', path.join(work, 'gsm8k'), '--home', home);
    expect(await command.closed).toBe(0);
    const losses = command.lines.flatMap((line) => (line['type'] === 'step' ? [Number(line['loss'])] : []));
    expect(losses.length).toBe(50);
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(mean(losses.slice(-5))).toBeLessThan(0.75 * mean(losses.slice(0, 5)));
  },
);
