/** The life of runs in one host, with scripted workers over the in-memory link. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRunWriter, runFiles } from '#core/store/index.ts';
import { makeHome, openTestHost, type TestHost, until } from './host.fixture.ts';
import type { ScriptedWorker } from './scripted-worker.fixture.ts';

let folder: ReturnType<typeof makeHome>;
let open: TestHost[];

beforeEach(() => {
  folder = makeHome();
  open = [];
});
afterEach(async () => {
  for (const { host } of open) await host.close();
  folder.remove();
});

function start(ports: Parameters<typeof openTestHost>[1] = {}): TestHost {
  const made = openTestHost(folder.root, ports);
  open.push(made);
  return made;
}

async function state(t: TestHost, id: string): Promise<string> {
  return (await t.call('runs.get', { id })).state;
}

/** Queues a run and waits for its worker, started or not. */
async function startRun(t: TestHost): Promise<{ id: string; worker: ScriptedWorker }> {
  const before = t.workers.length;
  const { id } = await t.call('runs.start', await t.draft());
  await until('a worker', () => t.workers[before]?.start !== undefined);
  const worker = t.workers[before];
  if (!worker) throw new Error('no worker');
  return { id, worker };
}

test('draft, queued, preparing, running, paused, running, completed', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  expect(await state(t, id)).toBe('preparing');
  worker.prepare();
  await until('running', async () => (await state(t, id)) === 'running');
  worker.step();
  await t.call('runs.pause', { id });
  await until('paused', async () => (await state(t, id)) === 'paused');
  await t.call('runs.resume', { id });
  await until('running', async () => (await state(t, id)) === 'running');
  worker.checkpoint();
  worker.step();
  worker.end('completed');
  await until('completed', async () => (await state(t, id)) === 'completed');

  const detail = await t.call('runs.get', { id });
  expect(detail).toMatchObject({
    name: 'a run',
    exit: 'completed',
    lastStep: 2,
    totalSteps: 3,
    lastLoss: 1.5,
    method: 'full',
    modelName: 'model',
    trainedSeconds: 0.2,
    peakRssMB: 50,
  });
  expect(detail.checkpoints.map(({ step }) => step)).toEqual([1]);
  const series = await t.call('runs.series', { id, afterStep: 1 });
  expect(series.steps.map(({ step }) => step)).toEqual([2]);
  const { records } = await t.call('runs.routing', { id });
  expect(records.map(({ step }) => step)).toEqual([1, 2]);
  expect(await t.call('runs.list', null)).toMatchObject([{ id, lastStep: 2 }]);
  expect(t.pushes).toContainEqual({ channel: 'runs.changed', payload: { id } });
  expect(t.pushes).toContainEqual({ channel: 'runs.advanced', payload: { id, lastStep: 2, lastEvent: 0 } });
  expect(t.bugs).toEqual([]);
});

test('the worker gets absolute paths, the mapping and the settings', async () => {
  const t = start();
  await t.call('app.updateSettings', { threads: 3, memoryBudgetMB: 500 });
  const { worker } = await startRun(t);
  expect(worker.start?.spec).toMatchObject({
    model: { path: path.join(folder.root, 'sample/model') },
    data: {
      train: [
        {
          path: path.join(folder.root, 'sample/data/train.jsonl'),
          mapping: { prompt: 'prompt', response: 'response' },
        },
      ],
    },
    engine: { threads: 3, memoryBudgetMB: 500 },
  });
  expect(worker.start).toMatchObject({
    resume: false,
    detached: false,
    cacheDir: path.join(t.home, 'cache'),
  });
});

test('queued runs start when the former ends; one of them can be taken out', async () => {
  const t = start();
  const first = await startRun(t);
  const draft = await t.draft();
  const second = await t.call('runs.start', draft);
  const third = await t.call('runs.start', draft);
  expect([await state(t, second.id), await state(t, third.id)]).toEqual(['queued', 'queued']);
  await t.call('runs.stop', { id: second.id });
  expect(await state(t, second.id)).toBe('stopped');
  first.worker.prepare();
  first.worker.end('completed');
  await until('the third', async () => (await state(t, third.id)) === 'preparing');
  expect(t.workers.length).toBe(2);
});

test('run ids sort by time, also within a millisecond', async () => {
  const t = start({ now: () => 1_795_550_000_000 });
  const draft = await t.draft();
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.push((await t.call('runs.start', draft)).id);
  expect(ids.toSorted()).toEqual(ids);
  expect(ids[0]).toMatch(/^run_20261124-\d{6}-000-/);
});

const nonFinite = { code: 'train/non-finite', message: 'the loss is not finite' };
test.each([
  ['failed', nonFinite, { error: nonFinite, reason: nonFinite.message }],
  ['stopped', undefined, { exit: 'stopped' }],
] as const)(
  'a run that %s can be resumed, from its checkpoint where it has one',
  async (exit, error, told) => {
    const t = start();
    const { id, worker } = await startRun(t);
    worker.prepare();
    worker.step();
    worker.checkpoint();
    worker.end(exit, error);
    await until(exit, async () => (await state(t, id)) === exit);
    expect(await t.call('runs.get', { id })).toMatchObject(told);
    await t.call('runs.resume', { id });
    await until('a second worker', () => t.workers[1]?.start !== undefined);
    expect(t.workers[1]?.start).toMatchObject({ runId: id, resume: true });
    // What was said of the former end does not stick.
    expect(await t.call('runs.get', { id })).not.toHaveProperty('reason');
  },
);

test('a resumed run computes where it is told to, and its document says so', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.exit({ code: null, signal: 'SIGKILL' });
  await until('interrupted', async () => (await state(t, id)) === 'interrupted');
  await t.call('runs.resume', { id, provider: 'cpu' });
  await until('a second worker', () => t.workers[1]?.start !== undefined);
  expect(t.workers.map((each) => each.start?.spec.engine.provider)).toEqual(['auto', 'cpu']);
  expect(await t.call('runs.get', { id })).toMatchObject({ spec: { engine: { provider: 'cpu' } } });
});

test('a run without checkpoint is resumed from the beginning', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.exit({ code: null, signal: 'SIGKILL' });
  await until('interrupted', async () => (await state(t, id)) === 'interrupted');
  expect(await t.call('runs.get', { id })).toMatchObject({
    exit: 'killed',
    reason: expect.stringContaining('SIGKILL') as string,
  });
  await t.call('runs.resume', { id });
  await until('a second worker', () => t.workers[1]?.start !== undefined);
  expect(t.workers[1]?.start?.resume).toBe(false);
});

test('a run that another process writes is not resumed', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  const { runDir } = worker.start ?? { runDir: '' };
  worker.exit({ code: null, signal: 'SIGKILL' });
  await until('interrupted', async () => (await state(t, id)) === 'interrupted');
  const writer = openRunWriter(runFiles(runDir).db, { pid: process.pid });
  await expect(t.call('runs.resume', { id })).rejects.toMatchObject({ code: 'run/in-use' });
  writer.close();
});

test('a stop that comes before the worker is ready reaches it after the start', async () => {
  const t = start();
  const { id } = await t.call('runs.start', await t.draft());
  await t.call('runs.stop', { id });
  expect(t.workers[0]?.commands.map(({ type }) => type)).toEqual(['hello', 'start', 'stop']);
  await until('stopped', async () => (await state(t, id)) === 'stopped');
});

test('WP10: what was only half written is no checkpoint to resume from', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  const { runDir = '' } = worker.start ?? {};
  mkdirSync(path.join(runDir, 'checkpoints/step-5.partial'), { recursive: true });
  worker.exit({ code: null, signal: 'SIGKILL' });
  await until('interrupted', async () => (await state(t, id)) === 'interrupted');
  await t.call('runs.resume', { id });
  await until('a second worker', () => t.workers[1]?.start !== undefined);
  expect(t.workers[1]?.start?.resume).toBe(false);
});

test('stop without keeping asks the worker to discard', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.prepare();
  await t.call('runs.stop', { id, keep: false });
  expect(worker.commands.at(-1)).toMatchObject({ type: 'stop', keep: false });
  await until('stopped', async () => (await state(t, id)) === 'stopped');
});

test('a command that the end of the run overtakes says so; a stop is content', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.prepare();
  worker.obedient = false;
  await until('running', async () => (await state(t, id)) === 'running');
  const pause = t.call('runs.pause', { id });
  const stop = t.call('runs.stop', { id });
  worker.end('completed');
  await expect(pause).rejects.toMatchObject({ code: 'run/ended' });
  expect(await stop).toBe(null);
});

test('commands to runs that are not running are refused', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.prepare();
  worker.end('completed');
  await until('completed', async () => (await state(t, id)) === 'completed');
  await expect(t.call('runs.pause', { id })).rejects.toMatchObject({ code: 'run/wrong-state' });
  await expect(t.call('runs.resume', { id })).rejects.toMatchObject({ code: 'run/wrong-state' });
  await expect(t.call('runs.get', { id: 'run_none' })).rejects.toMatchObject({ code: 'run/unknown' });
});

test('rename, export and remove', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  await expect(t.call('runs.remove', { id })).rejects.toMatchObject({ code: 'run/wrong-state' });
  worker.prepare();
  worker.end('completed');
  await until('completed', async () => (await state(t, id)) === 'completed');
  await t.call('runs.rename', { id, name: 'renamed' });
  const { json } = await t.call('runs.exportSpec', { id });
  expect(JSON.parse(json)).toMatchObject({ name: 'renamed', method: { name: 'full' } });
  await t.call('runs.remove', { id });
  expect(await t.call('runs.list', null)).toEqual([]);
  expect(existsSync(worker.start?.runDir ?? '')).toBe(false);
});

test('a worker that cannot be started fails its run and lets the next one start', async () => {
  const t = start({
    spawnWorker: () => {
      throw new Error('no such program');
    },
  });
  const draft = await t.draft();
  for (const { id } of [await t.call('runs.start', draft), await t.call('runs.start', draft)]) {
    await until('failed', async () => (await state(t, id)) === 'failed');
    expect(await t.call('runs.get', { id })).toMatchObject({
      error: { code: 'internal', message: 'no such program' },
    });
  }
  expect(t.bugs.length).toBe(2);
});

test('closing the host saves the run, which is interrupted and resumable afterwards', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.prepare();
  worker.step();
  await until('running', async () => (await state(t, id)) === 'running');
  await t.host.close();
  open.length = 0;
  expect(worker.commands.at(-1)).toMatchObject({ type: 'stop', keep: true });
  const u = start();
  expect(await u.call('runs.get', { id })).toMatchObject({
    state: 'interrupted',
    reason: 'Condenser was closed; the run saved a checkpoint first.',
  });
  await u.call('runs.resume', { id });
  await until('a worker', () => u.workers[0]?.start?.runId === id);
});

test('a queue survives its host', async () => {
  const t = start();
  const first = await startRun(t);
  first.worker.prepare();
  const second = await t.call('runs.start', await t.draft());
  await t.host.close();
  open.length = 0;
  const u = start();
  await until('the queued run', () => u.workers[0]?.start?.runId === second.id);
  expect(await state(u, first.id)).toBe('interrupted');
});

test('a data folder that was copied without app.db shows its runs again', async () => {
  const t = start();
  const { id, worker } = await startRun(t);
  worker.prepare();
  worker.step();
  worker.end('completed');
  await until('completed', async () => (await state(t, id)) === 'completed');
  await t.host.close();
  open.length = 0;
  for (const name of ['app.db', 'app.db-wal', 'app.db-shm']) rmSync(path.join(t.home, name), { force: true });
  const u = start();
  expect(await u.call('runs.list', null)).toMatchObject([{ id, state: 'completed', lastStep: 1 }]);
});
