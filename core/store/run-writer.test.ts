import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RoutingRecord, StepMetrics } from '#core/contract/metrics.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { isRunLocked, openRunReader, openRunWriter, runFiles } from './index.ts';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'run-db-'));
  file = runFiles(dir).db;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const metrics = (step: number, extra: Partial<StepMetrics> = {}): StepMetrics => ({
  step,
  wallMs: 1_700_000_000_000 + step * 250,
  loss: 4 / step,
  learningRate: 1e-5,
  gradNorm: 0.5,
  tokens: 100,
  trainedTokens: 60,
  tokensPerSecond: 400,
  rssMB: 900 + step,
  ...extra,
});
const routing = (step: number, layers = 2, experts = 4): RoutingRecord => ({
  step,
  counts_LE: Uint32Array.from({ length: layers * experts }, (_, i) => i + step),
});
const facts: RunFacts = {
  family: 'olmoe',
  layers: 3,
  moeLayers: 2,
  moeLayerIndices: [1, 2],
  experts: 4,
  expertsPerToken: 2,
  trainableParameters: 10,
  totalParameters: 20,
  totalSteps: 100,
  trainRows: 8,
  validationRows: 2,
  hashes: { model: 'a' },
  provider: 'cpu',
  threads: 2,
  estimatedMemoryMB: 12,
};
const codeOf = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
  return undefined;
};

/** Runs `source` as a module in a Node of its own; `store` is the index of this folder there. */
function child(source: string) {
  const url = new URL('./index.ts', import.meta.url).href;
  const program = `import * as store from ${JSON.stringify(url)}; const file = ${JSON.stringify(file)};\n${source}`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

test('what is written is read back', () => {
  const writer = openRunWriter(file, { pid: 1 });
  writer.facts(facts);
  writer.step(metrics(1, { auxLoss: 2.5, deviceMB: 12 }), {
    ...routing(1),
    mass_LE: Float32Array.of(1.5, 0, 0, 0, 0.25, 0, 0, 0),
    soft_LE: Float32Array.of(2, 0.5, 0, 0, 0.75, 0, 0, 0),
    gradNorm_LE: Float32Array.of(1, NaN, 0, 0, 0.125, 0, 0, NaN),
    bias_LE: Float32Array.of(-1, 1, 0, 0, 0, 0, 0, 3),
    condensers: [[3, 1], []],
  });
  writer.step(metrics(2), null);
  const general = { loss: 3.25, trainedTokens: 99 };
  const first = writer.evaluation({ step: 0, loss: 2, trainedTokens: 1234, general });
  const evaluated = writer.evaluation({ step: 2, loss: 1.9, trainedTokens: 1234 });
  const reader = openRunReader(file);
  expect(reader.facts()).toEqual(facts);
  const series = reader.series();
  expect(series.steps).toEqual([metrics(1, { auxLoss: 2.5, deviceMB: 12 }), metrics(2)]);
  expect(series.evaluations).toEqual([
    { step: 0, loss: 2, trainedTokens: 1234, general },
    { step: 2, loss: 1.9, trainedTokens: 1234 },
  ]);
  expect(series.events.map((event) => [event.id, event.kind, event.message])).toEqual([
    [first, 'evaluation', 'Validation loss 2.0000 over 1,234 tokens; on general data 3.2500 over 99 tokens.'],
    [evaluated, 'evaluation', 'Validation loss 1.9000 over 1,234 tokens.'],
  ]);
  expect(reader.routing()).toEqual([
    {
      step: 1,
      counts_LE: Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
      mass_LE: Float32Array.of(1.5, 0, 0, 0, 0.25, 0, 0, 0),
      soft_LE: Float32Array.of(2, 0.5, 0, 0, 0.75, 0, 0, 0),
      gradNorm_LE: Float32Array.of(1, NaN, 0, 0, 0.125, 0, 0, NaN),
      bias_LE: Float32Array.of(-1, 1, 0, 0, 0, 0, 0, 3),
      condensers: [[3, 1], []],
    },
  ]);
  expect(reader.marks()).toEqual({ lastStep: 2, lastEvent: evaluated });
  expect(reader.totals()).toEqual({
    peakDeviceMB: 12,
    steps: 2,
    tokens: 200,
    trainedTokens: 120,
    seconds: 0.5,
    peakRssMB: 902,
    lastLoss: 2,
    firstWallMs: metrics(1).wallMs,
  });
  expect(reader.writer()?.pid).toBe(1);
  reader.close();
  writer.close();
});

test('counts above 16 bits are kept', () => {
  const writer = openRunWriter(file, { pid: 1 });
  const counts_LE = Uint32Array.of(0, 65_535, 65_536, 4_294_967_295);
  writer.step(metrics(1), { step: 1, counts_LE });
  writer.step(metrics(2), { step: 2, counts_LE: Uint32Array.of(65_535, 1, 2, 3) });
  writer.close();
  const reader = openRunReader(file);
  expect(reader.routing().map((record) => record.counts_LE)).toEqual([
    counts_LE,
    Uint32Array.of(65_535, 1, 2, 3),
  ]);
  reader.close();
});

test('a reader that follows its marks misses nothing, evaluations included', () => {
  const writer = openRunWriter(file, { pid: 1 });
  writer.step(metrics(1), null);
  const reader = openRunReader(file);
  const first = reader.marks();
  writer.evaluation({ step: 1, loss: 3, trainedTokens: 5 }); // After step 1 was read.
  writer.step(metrics(2), null);
  const next = reader.series({ afterStep: first.lastStep, afterEvent: first.lastEvent });
  expect(next.steps.map((row) => row.step)).toEqual([2]);
  expect(next.evaluations).toEqual([{ step: 1, loss: 3, trainedTokens: 5 }]);
  const marks = reader.marks();
  expect(reader.series({ afterStep: marks.lastStep, afterEvent: marks.lastEvent })).toEqual({
    steps: [],
    evaluations: [],
    events: [],
  });
  reader.close();
  writer.close();
});

test('going back to a checkpoint removes what came after it and tells followers', () => {
  let writer = openRunWriter(file, { pid: 1 });
  for (let step = 1; step <= 6; step++) writer.step(metrics(step), routing(step));
  writer.evaluation({ step: 4, loss: 1, trainedTokens: 1 });
  writer.evaluation({ step: 6, loss: 1, trainedTokens: 1 });
  const reader = openRunReader(file);
  const marks = reader.marks();
  writer.close();
  writer = openRunWriter(file, { pid: 2 });
  writer.resetTo(4);
  expect(reader.series().steps.map((row) => row.step)).toEqual([1, 2, 3, 4]);
  expect(reader.series().evaluations.map((row) => row.step)).toEqual([4]);
  expect(reader.routing().map((row) => row.step)).toEqual([1, 2, 3, 4]);
  writer.step(metrics(5, { loss: 9 }), routing(5));
  const next = reader.series({ afterStep: marks.lastStep, afterEvent: marks.lastEvent });
  expect(next.steps.map((row) => [row.step, row.loss])).toEqual([[5, 9]]);
  expect(next.events.map((event) => [event.kind, event.step, event.message])).toEqual([
    ['resumed', 4, 'Resumed from the checkpoint of step 4. Steps 5 to 6 are trained again.'],
  ]);
  reader.close();
  writer.close();
});

test('going back to the start speaks of no checkpoint', () => {
  const writer = openRunWriter(file, { pid: 1 });
  writer.step(metrics(1), routing(1));
  writer.step(metrics(2), routing(2));
  writer.resetTo(null);
  writer.resetTo(0);
  const reader = openRunReader(file);
  expect(reader.marks().lastStep).toBe(0);
  expect(reader.series().events.map(({ step, message }) => [step, message])).toEqual([
    [0, 'Begins again at the start: there is no checkpoint. Steps 1 to 2 are trained again.'],
    // A run that is stopped before its first step saves a checkpoint of step 0.
    [0, 'Resumed from the checkpoint of step 0.'],
  ]);
  reader.close();
  writer.close();
});

test('routing is thinned evenly and the last record is kept', () => {
  const writer = openRunWriter(file, { pid: 1 });
  for (let step = 1; step <= 101; step++) writer.step(metrics(step), routing(step));
  writer.close();
  const reader = openRunReader(file);
  const steps = (query: { fromStep?: number; toStep?: number; limit?: number }) =>
    reader.routing(query).map((record) => record.step);
  expect(steps({ limit: 5 })).toEqual([1, 26, 51, 76, 101]);
  expect(steps({ limit: 1 })).toEqual([101]);
  expect(steps({ fromStep: 10, toStep: 12 })).toEqual([10, 11, 12]);
  expect(steps({ fromStep: 10, toStep: 20, limit: 2 })).toEqual([10, 20]);
  reader.close();
});

test('checkpoints are found in a copied run directory, and only while they exist', () => {
  const writer = openRunWriter(file, { pid: 1 });
  const folder = path.join(runFiles(dir).checkpoints, 'step-10');
  mkdirSync(folder, { recursive: true });
  writer.checkpoint({ step: 5, path: path.join(runFiles(dir).checkpoints, 'step-5'), bytes: 1, wallMs: 1 });
  writer.checkpoint({ step: 10, path: folder, bytes: 2_500_000, wallMs: 2 });
  writer.close();
  const copy = mkdtempSync(path.join(tmpdir(), 'run-copy-'));
  cpSync(dir, copy, { recursive: true });
  const reader = openRunReader(runFiles(copy).db);
  expect(reader.checkpoints()).toEqual([
    { step: 10, path: path.join(copy, 'checkpoints', 'step-10'), bytes: 2_500_000, wallMs: 2 },
  ]);
  expect(reader.series().events.at(-1)?.message).toBe('Checkpoint of step 10 saved (2.5 MB).');
  reader.close();
  rmSync(copy, { recursive: true });
});

test('the end is recorded, and forgotten when the run goes on', () => {
  let writer = openRunWriter(file, { pid: 1 });
  const error = {
    code: 'train/not-finite',
    message: 'loss is not finite at step 3',
    hint: 'Lower the rate.',
  };
  writer.ended('failed', 3, error);
  const reader = openRunReader(file);
  expect(reader.outcome()).toEqual({ exit: 'failed', error });
  expect(reader.series().events.at(-1)?.message).toBe('Run failed: loss is not finite at step 3.');
  writer.close();
  writer = openRunWriter(file, { pid: 2 });
  expect(reader.outcome()).toBeNull();
  reader.close();
  writer.close();
});

test('a second writer is refused with the process that holds the run, in this and in another process', async () => {
  const writer = openRunWriter(file, { pid: process.pid });
  expect(codeOf(() => openRunWriter(file, { pid: 7 }))).toBe('run/in-use');
  expect(() => openRunWriter(file, { pid: 7 })).toThrow(`process ${process.pid}`);
  const other = child(
    `try { store.openRunWriter(file, { pid: process.pid }); console.log('opened'); } catch (e) { console.log(e.code, e.message); }`,
  );
  const [line] = (await once(createInterface(other.stdout), 'line')) as [string];
  expect(line).toContain('run/in-use');
  expect(line).toContain(`process ${process.pid}`);
  expect(isRunLocked(file)).toBe(true);
  writer.close();
  expect(isRunLocked(file)).toBe(false);
  openRunWriter(file, { pid: 8 }).close();
});

test('after kill -9 every announced step is in the file, and the lock is free', async () => {
  const writing = child(`
    import { writeSync } from 'node:fs';
    const writer = store.openRunWriter(file, { pid: process.pid });
    for (let step = 1; ; step++) {
      writer.step({ step, wallMs: step, loss: 1, learningRate: 1, gradNorm: 1, tokens: 1, trainedTokens: 1,
        tokensPerSecond: 1, rssMB: 1 }, { step, counts_LE: new Uint32Array(1024).fill(step) });
      writeSync(1, step + '\\n');
    }`);
  let announced = 0;
  const lines = createInterface(writing.stdout);
  lines.on('line', (line) => {
    announced = Number(line);
    if (announced === 200) writing.kill('SIGKILL');
  });
  await Promise.all([once(writing, 'exit'), once(lines, 'close')]);
  expect(announced).toBeGreaterThanOrEqual(200);
  expect(isRunLocked(file)).toBe(false);
  const reader = openRunReader(file);
  const { steps } = reader.series();
  expect(steps.length).toBeGreaterThanOrEqual(announced);
  expect(steps.map((row) => row.step)).toEqual(Array.from({ length: steps.length }, (_, i) => i + 1));
  const last = reader.routing({ limit: 1 })[0];
  expect(last?.counts_LE).toEqual(new Uint32Array(1024).fill(last?.step ?? 0));
  reader.close();
  openRunWriter(file, { pid: 1 }).close();
});

/** Mounts a 1 MiB file system at `dir`; a sentence why not where that is not allowed. */
function mountSmall(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'needs root on Linux to mount a small tmpfs';
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return `mount refused: ${error instanceof Error ? error.message : String(error)}`;
  }
}

test('a full disk ends writing with its own error and keeps what was committed', ({ skip }) => {
  const refusal = mountSmall();
  if (refusal !== null) skip(refusal);
  try {
    const writer = openRunWriter(file, { pid: 1 });
    let written = 0;
    const code = codeOf(() => {
      for (let step = 1; step < 10_000; step++) {
        writer.step(metrics(step), routing(step, 16, 64));
        written = step;
      }
    });
    expect(code).toBe('store/disk-full');
    expect(statfsSync(dir).bavail * statfsSync(dir).bsize).toBeLessThan(256 * 1024);
    expect(written).toBeGreaterThan(10);
    const reader = openRunReader(file);
    expect(reader.marks().lastStep).toBe(written);
    reader.close();
    writer.close();
    const again = openRunReader(file);
    expect(again.series().steps.length).toBe(written);
    again.close();
  } finally {
    execFileSync('umount', [dir]);
  }
});

test('a disk that is full before the run says so too', ({ skip }) => {
  const refusal = mountSmall();
  if (refusal !== null) skip(refusal);
  try {
    expect(() => {
      writeFileSync(path.join(dir, 'ballast'), new Uint8Array(2 * 1024 * 1024));
    }).toThrow('ENOSPC');
    expect(codeOf(() => openRunWriter(file, { pid: 1 }))).toBe('store/disk-full');
  } finally {
    execFileSync('umount', [dir]);
  }
});

test('ten thousand steps: series and routing read speed', () => {
  const writer = openRunWriter(file, { pid: 1 });
  const started = performance.now();
  for (let step = 1; step <= 10_000; step++) writer.step(metrics(step), routing(step, 16, 64));
  const written = performance.now();
  const reader = openRunReader(file);
  const { steps } = reader.series();
  const read = performance.now();
  const records = reader.routing({ limit: 200 });
  const routed = performance.now();
  expect([steps.length, records.length]).toEqual([10_000, 200]);
  console.info(
    `10,000 steps of 16 × 64: write ${((written - started) / 10).toFixed(1)} µs/step, ` +
      `series ${(read - written).toFixed(0)} ms, 200 routing records ${(routed - read).toFixed(0)} ms`,
  );
  reader.close();
  writer.close();
});
