/** Hosts with real worker processes: the trainer is the fake one of `fake-worker.fixture.ts`. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hostApi } from '#core/contract/host-api.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import type { Host } from '#core/host/index.ts';
import { openRunReader, runFiles } from '#core/store/index.ts';
import { composeHost, type ComposeOptions } from './compose-host.ts';
import { runHeadless, type TrainLine } from './run-headless.ts';

const worker = { node: process.execPath, entry: path.join(import.meta.dirname, '../fake-worker.fixture.ts') };
let home: string;
let hosts: Host[];
const workerPids = new Set<number>();

beforeEach(() => {
  home = mkdtempSync(path.join(os.tmpdir(), 'condenser-compose-'));
  hosts = [];
});
afterEach(async () => {
  const folder = home;
  // First: a worker that is blocked would keep its host waiting.
  for (const pid of workerPids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  workerPids.clear();
  for (const host of hosts) await host.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}, 60_000);

function open(options: ComposeOptions = {}): Host {
  const host = composeHost({ home, worker, ...options });
  hosts.push(host);
  return host;
}

async function close(host: Host): Promise<void> {
  hosts = hosts.filter((other) => other !== host);
  await host.close();
}

function specOf(options: Record<string, number>, steps = 20) {
  return parseRunSpec({
    model: { path: '/model' },
    data: { train: [{ path: '/data' }] },
    method: { name: 'fake', options },
    train: { steps, gradientAccumulation: 1 },
    checkpoint: { everySteps: 5 },
  });
}

async function get(host: Host, id: string): Promise<RunDetail> {
  const result = await host.call('runs.get', { id });
  if (!result.ok) throw new Error(result.error.message);
  return hostApi.runs.get.output.parse(result.value);
}

async function until(
  host: Host,
  id: string,
  what: string,
  condition: (run: RunDetail) => boolean,
): Promise<RunDetail> {
  const end = Date.now() + 30_000;
  for (;;) {
    const run = await get(host, id);
    if (condition(run)) return run;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}: ${JSON.stringify(run)}`);
    await sleep(10);
  }
}

/** Process number of the run's worker. */
function pidOf(host: Host, id: string): number {
  const reader = openRunReader(runFiles(host.runDir(id)).db);
  const pid = reader.writer()?.pid ?? 0;
  reader.close();
  workerPids.add(pid);
  return pid;
}

test('a run goes from start to end in a process of its own', async () => {
  const host = open();
  const notices: string[] = [];
  host.onPush((channel) => notices.push(channel));
  const id = host.startRun(specOf({ stepMs: 10 }));
  const run = await until(host, id, 'completed', ({ state }) => state === 'completed');
  expect(run).toMatchObject({ lastStep: 20, totalSteps: 20, exit: 'completed' });
  expect(pidOf(host, id)).not.toBe(process.pid);
  expect(run.checkpoints.map(({ step }) => step)).toEqual([5, 10, 15, 20]);
  expect(notices).toContain('runs.advanced');
});

test('a run that is stopped before its worker is ready never trains', async () => {
  const host = open();
  const id = host.startRun(specOf({ prepareMs: 60_000 }));
  expect(await host.call('runs.stop', { id })).toMatchObject({ ok: true });
  expect(await until(host, id, 'stopped', ({ state }) => state === 'stopped')).toMatchObject({ lastStep: 0 });
});

test('WP8: a long step with a fresh heartbeat is alive', async () => {
  const host = open();
  const id = host.startRun(specOf({ blockAt: 3, blockMs: 9000 }));
  await until(host, id, 'a heartbeat', ({ heartbeatAgeMs }) => heartbeatAgeMs !== undefined);
  await until(host, id, 'the long step', ({ lastStep }) => lastStep === 2);
  await sleep(5500);
  const during = await get(host, id);
  expect(during).toMatchObject({ state: 'running', lastStep: 2 });
  expect(during.heartbeatAgeMs).toBeLessThan(5000);
  expect(await until(host, id, 'the end', ({ state }) => state !== 'running')).toMatchObject({
    state: 'completed',
  });
});

test('WP9: a killed worker leaves an interrupted run, which resumes from its checkpoint', async () => {
  const host = open();
  const id = host.startRun(specOf({ stepMs: 20, blockAt: 8, blockMs: 60_000 }));
  await until(host, id, 'step 7', ({ lastStep }) => lastStep === 7);
  process.kill(pidOf(host, id), 'SIGKILL');
  const run = await until(host, id, 'interrupted', ({ state }) => state === 'interrupted');
  expect(run).toMatchObject({ exit: 'killed', lastStep: 7 });
  expect(run.reason).toContain('SIGKILL');
  expect(run.checkpoints.map(({ step }) => step)).toEqual([5]);
  const resumed = await host.call('runs.resume', { id });
  expect(resumed).toMatchObject({ ok: true });
  await until(host, id, 'step 5 again', ({ state }) => state === 'running');
  const series = await host.call('runs.series', { id });
  expect(series).toMatchObject({
    ok: true,
    value: {
      events: expect.arrayContaining([expect.objectContaining({ kind: 'resumed', step: 5 })]) as unknown,
    },
  });
  await until(host, id, 'step 7 again', ({ lastStep }) => lastStep === 7);
  process.kill(pidOf(host, id), 'SIGKILL');
  await until(host, id, 'interrupted', ({ state }) => state === 'interrupted');
});

test('WP9: a worker that uses up its heap is out of memory, not failed', async () => {
  const node = path.join(home, 'small-node');
  const script = `#!/bin/sh\nexec "${worker.node}" --max-old-space-size=64 "$@"\n`;
  writeFileSync(node, script, { mode: 0o755 });
  const host = open({ worker: { ...worker, node } });
  const id = host.startRun(specOf({ exhaustAt: 3 }));
  const run = await until(
    host,
    id,
    'interrupted',
    ({ state }) => state === 'interrupted' || state === 'failed',
  );
  expect(run).toMatchObject({ state: 'interrupted', exit: 'oom', lastStep: 2 });
  expect(run.reason).toContain('smaller micro-batch');
});

test('WP9: an error of our own is told with its message', async () => {
  const host = open();
  const id = host.startRun(specOf({ crashAt: 2 }));
  const run = await until(host, id, 'failed', ({ state }) => state === 'failed');
  expect(run.error).toEqual({ code: 'internal', message: 'a broken invariant' });
});

test('WP9: a program that is no worker fails the run with what it said', async () => {
  const entry = path.join(home, 'broken.mjs');
  writeFileSync(entry, 'throw new Error("not today")');
  const host = open({ worker: { node: worker.node, entry } });
  const id = host.startRun(specOf({}));
  const run = await until(host, id, 'failed', ({ state }) => state === 'failed');
  expect(run.error).toMatchObject({
    code: 'worker/crashed',
    message: expect.stringContaining('not today') as string,
  });
});

test('a detached run goes on while no host is there, is adopted by the next one, and completes', async () => {
  const first = open({ detachWorkers: true });
  const id = first.startRun(specOf({ stepMs: 60 }, 100));
  await until(first, id, 'a step', ({ lastStep }) => lastStep > 0);
  const pid = pidOf(first, id);
  await close(first);
  process.kill(pid, 0);

  const second = open();
  const advanced: number[] = [];
  second.onPush((channel, payload) => {
    if (channel === 'runs.advanced') advanced.push((payload as { lastStep: number }).lastStep);
  });
  expect(await get(second, id)).toMatchObject({ state: 'running' });
  const queued = second.startRun(specOf({}));
  expect(await get(second, queued)).toMatchObject({ state: 'queued' });
  expect(await second.call('runs.pause', { id })).toMatchObject({
    ok: false,
    error: { code: 'run/not-attached' },
  });
  expect(await until(second, id, 'the end', ({ state }) => state !== 'running')).toMatchObject({
    state: 'completed',
    lastStep: 100,
  });
  expect(advanced.length).toBeGreaterThan(1);
  await until(second, queued, 'the queued run', ({ state }) => state === 'completed');
});

test('an adopted run can be stopped: it saves first', async () => {
  const first = open({ detachWorkers: true });
  const id = first.startRun(specOf({ stepMs: 50 }, 10_000));
  await until(first, id, 'a step', ({ lastStep }) => lastStep > 0);
  pidOf(first, id);
  await close(first);
  const second = open();
  expect(await second.call('runs.stop', { id })).toMatchObject({ ok: true });
  const run = await until(second, id, 'stopped', ({ state }) => state === 'stopped');
  expect(run.checkpoints.at(-1)?.step).toBe(run.lastStep);
});

test('a detached run that was killed while no host was there is interrupted', async () => {
  const first = open({ detachWorkers: true });
  const id = first.startRun(specOf({ stepMs: 50 }, 10_000));
  await until(first, id, 'a step', ({ lastStep }) => lastStep > 0);
  const pid = pidOf(first, id);
  await close(first);
  process.kill(pid, 'SIGKILL');
  await sleep(200);
  const second = open();
  const run = await until(second, id, 'interrupted', ({ state }) => state !== 'running');
  expect(run).toMatchObject({ state: 'interrupted', exit: 'lost' });
});

function train(options: Record<string, number>, steps?: number) {
  const lines: TrainLine[] = [];
  const runDir = path.join(home, 'out');
  const run = runHeadless({ spec: specOf(options, steps), runDir }, { home, worker }, (line) =>
    lines.push(line),
  );
  return { run, lines, runDir };
}

test('headless: the lines of a run, in order', async () => {
  const { run, lines, runDir } = train({ stepMs: 10 });
  expect(await run.ended).toMatchObject({ state: 'completed' });
  expect(lines[0]).toEqual({
    type: 'started',
    runId: run.id,
    dir: runDir,
    trainableParameters: 10,
    totalParameters: 20,
    totalSteps: 20,
  });
  const steps = lines.flatMap((line) => (line.type === 'step' ? [line.step] : []));
  expect(steps).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  const saved = lines.flatMap((line, at) =>
    line.type === 'checkpoint' ? [{ line, before: lines[at - 1] }] : [],
  );
  expect(saved.map(({ line }) => line.step)).toEqual([5, 10, 15, 20]);
  expect(saved.map(({ before }) => before)).toMatchObject(
    [5, 10, 15, 20].map((step) => ({ type: 'step', step })),
  );
  expect(lines.at(-1)).toEqual({ type: 'ended', state: 'completed', step: 20, reason: null });
});

test('headless: interrupt stops with a checkpoint; resuming tells only what is new', async () => {
  const { run, lines, runDir } = train({ stepMs: 20 }, 200);
  const seen = () => lines.filter(({ type }) => type === 'step').length;
  while (seen() < 3) await sleep(10);
  run.interrupt();
  const stopped = await run.ended;
  expect(stopped.state).toBe('stopped');
  const last = lines.at(-1);
  expect(last).toMatchObject({ type: 'ended', state: 'stopped', step: stopped.lastStep });
  expect(lines.at(-2)).toMatchObject({ type: 'checkpoint', step: stopped.lastStep });

  const more: TrainLine[] = [];
  const resumed = runHeadless({ resumeDir: runDir }, { home, worker }, (line) => more.push(line));
  expect(resumed.id).toBe(run.id);
  while (more.filter(({ type }) => type === 'step').length < 2) await sleep(10);
  resumed.interrupt();
  await resumed.ended;
  expect(more[0]).toMatchObject({ type: 'started' });
  expect(more[1]).toMatchObject({ type: 'step', step: stopped.lastStep + 1 });
});

test('headless: a second interrupt ends at once; the last checkpoint is kept', async () => {
  const { run, runDir } = train({ blockAt: 7, blockMs: 60_000 });
  while (!existsSync(path.join(runDir, 'blocked'))) await sleep(10);
  run.interrupt();
  await sleep(300);
  const atMs = Date.now();
  run.interrupt();
  const ended = await run.ended;
  expect(Date.now() - atMs).toBeLessThan(5000);
  expect(ended).toMatchObject({
    state: 'stopped',
    reason: expect.stringContaining('last checkpoint') as string,
  });
  expect(ended.checkpoints.map(({ step }) => step)).toEqual([5]);
});

test('headless: a folder that holds a run already is refused', async () => {
  const { run } = train({});
  await run.ended;
  expect(() => train({})).toThrow(expect.objectContaining({ code: 'run/exists' }) as Error);
});
