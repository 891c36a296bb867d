/** The host API besides the life of runs: every reply is checked against its schema by the fixture. */
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DatasetInspection } from '#core/contract/dataset.ts';
import { UserError } from '#core/contract/errors.ts';
import { hostApi } from '#core/contract/host-api.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { makeHome, openTestHost, testData, type TestHost, until } from './host.fixture.ts';

let folder: ReturnType<typeof makeHome>;
let t: TestHost;

beforeEach(() => {
  folder = makeHome();
  t = openTestHost(folder.root);
});
afterEach(async () => {
  await t.host.close();
  folder.remove();
});

const inFolder = (name: string) => path.join(folder.root, name);

test('every call of the API has a handler', async () => {
  const names = Object.entries(hostApi).flatMap(([subject, methods]) =>
    Object.entries(methods).flatMap(([method, { kind }]) =>
      kind === 'call' ? [`${subject}.${method}`] : [],
    ),
  );
  expect(names.length).toBeGreaterThan(30);
  for (const name of names) {
    const result = await t.host.call(name, {});
    // Most refuse the empty input; none may lack its handler.
    expect(result.ok ? 'ok' : result.error.code, name).not.toBe('internal');
  }
  expect(t.bugs).toEqual([]);
});

test.each([
  'nothing',
  'runs',
  'runs.',
  '.list',
  'runs.list.x',
  'runs.changed',
  '__proto__.x',
  'constructor.name',
  'runs.__proto__',
  'runs.toString',
  '',
])('an unknown call is refused: %j', async (name) => {
  expect(await t.host.call(name, null)).toMatchObject({ ok: false, error: { code: 'host/unknown-call' } });
});

test('a wrong input names its field', async () => {
  expect(await t.host.call('runs.get', { id: '../../etc' })).toMatchObject({
    ok: false,
    error: { code: 'host/bad-input', message: expect.stringContaining('runs.get: id') as string },
  });
  expect(await t.host.call('app.updateSettings', { theme: 'dark', colour: 'red' })).toMatchObject({
    ok: false,
    error: { code: 'host/bad-input', message: expect.stringContaining('colour') as string },
  });
});

test('information, device and settings', async () => {
  expect(await t.call('app.info', null)).toEqual({
    version: '1.2.3',
    shell: 'node',
    home: t.home,
    networkRequests: 0,
  });
  expect(await t.call('app.device', null)).toMatchObject({ cpu: { cores: 2 } });
  expect(await t.call('app.settings', null)).toEqual({
    theme: 'system',
    provider: 'auto',
    threads: 'auto',
    memoryBudgetMB: null,
    deviceMemoryMB: null,
  });
  await t.call('app.updateSettings', { theme: 'dark', threads: 2 });
  expect(await t.call('app.settings', null)).toMatchObject({
    theme: 'dark',
    threads: 2,
    memoryBudgetMB: null,
    deviceMemoryMB: null,
  });
});

test('a change of one setting leaves the others alone', async () => {
  await t.call('app.updateSettings', { threads: 4 });
  expect(await t.call('app.updateSettings', { theme: 'light' })).toMatchObject({ threads: 4 });
});

test('files: handles are opaque, stable and real', async () => {
  const { handle, name } = await t.call('files.register', { path: inFolder('sample/data/train.jsonl') });
  expect(handle).toMatch(/^file_/);
  expect(name).toBe('train.jsonl');
  expect(handle).not.toContain('train');
  symlinkSync(inFolder('sample/data/train.jsonl'), inFolder('link.jsonl'));
  expect((await t.call('files.register', { path: inFolder('link.jsonl') })).handle).toBe(handle);
});

test('files: what is missing, relative, special or swapped is refused', async () => {
  const register = (given: string) => t.call('files.register', { path: given });
  await expect(register(inFolder('none'))).rejects.toMatchObject({ code: 'file/missing' });
  await expect(register('train.jsonl')).rejects.toMatchObject({ code: 'file/not-absolute' });
  await expect(register('/dev/null')).rejects.toMatchObject({ code: 'file/special' });
  await expect(t.call('datasets.import', { handle: 'file_made-up' })).rejects.toMatchObject({
    code: 'file/unknown',
  });
  await expect(t.call('files.choose', { kind: 'data' })).rejects.toMatchObject({ code: 'shell/no-dialog' });

  const file = inFolder('data.jsonl');
  writeFileSync(file, '{}');
  const { handle } = await register(file);
  renameSync(file, inFolder('moved.jsonl'));
  await expect(t.call('datasets.import', { handle })).rejects.toMatchObject({ code: 'file/missing' });
  symlinkSync('/etc/hostname', file);
  await expect(t.call('datasets.import', { handle })).rejects.toMatchObject({ code: 'file/changed' });
});

test('files: the dialog of the shell', async () => {
  await t.host.close();
  let answer: string | null = inFolder('sample/model');
  t = openTestHost(folder.root, { choosePath: () => Promise.resolve(answer) });
  expect(await t.call('files.choose', { kind: 'folder' })).toMatchObject({ name: 'model' });
  answer = null;
  expect(await t.call('files.choose', { kind: 'folder' })).toBe(null);
});

test('models: add, add again, verify, remove', async () => {
  const { handle } = await t.call('files.register', { path: inFolder('sample/model') });
  const added = await t.call('models.add', { handle });
  expect(await t.call('models.add', { handle })).toEqual(added);
  expect(await t.call('models.list', null)).toEqual([added]);
  expect(await t.call('models.verify', { id: added.id })).toEqual({ ...added, sha256: 'f'.repeat(64) });
  expect(t.pushes).toContainEqual({ channel: 'models.changed', payload: { id: added.id } });
  await t.call('models.remove', { id: added.id });
  expect(await t.call('models.list', null)).toEqual([]);
  await expect(t.call('models.verify', { id: added.id })).rejects.toMatchObject({ code: 'model/unknown' });
});

test('datasets: import, map, inspect, preview, sample, remove', async () => {
  const { model, data } = await t.draft();
  const id = data.train[0] ?? '';
  const view = { id, modelId: model.id, maxLength: 64, lossOn: 'completion' as const };
  expect(await t.call('datasets.list', null)).toMatchObject([{ id, name: 'train.jsonl', rows: 1 }]);
  expect(await t.call('datasets.map', { id, mapping: { text: 'prompt' } })).toMatchObject({
    mapping: { text: 'prompt' },
  });
  expect(await t.call('datasets.list', null)).toMatchObject([{ mapping: { text: 'prompt' } }]);
  expect(await t.call('datasets.inspect', view)).toMatchObject({ trainedTokens: 1 });
  expect(await t.call('datasets.preview', { ...view, fromRow: 3, rows: 1 })).toMatchObject([{ row: 3 }]);
  expect(await t.call('datasets.sample', { id, rows: 1 })).toEqual([{ prompt: '"a"' }]);
  await t.call('datasets.remove', { id });
  await expect(t.call('datasets.inspect', view)).rejects.toMatchObject({ code: 'dataset/unknown' });
  await expect(t.call('runs.plan', await staleDraft(id, model.id))).rejects.toMatchObject({
    code: 'dataset/unknown',
  });
});

test('datasets: the same inspection asked twice is made once, and tells how far it is', async () => {
  await t.host.close();
  const made: PromiseWithResolvers<DatasetInspection>[] = [];
  const progress: ((rows: number) => void)[] = [];
  t = openTestHost(folder.root, {
    data: {
      ...testData,
      inspect: (_source, _view, onProgress) => {
        progress.push(onProgress);
        const inspection = Promise.withResolvers<DatasetInspection>();
        made.push(inspection);
        return inspection.promise;
      },
    },
  });
  const { model, data } = await t.draft();
  const id = data.train[0] ?? '';
  const view = { id, modelId: model.id, maxLength: 64, lossOn: 'completion' as const };
  const both = [t.call('datasets.inspect', view), t.call('datasets.inspect', view)];
  const other = t.call('datasets.inspect', { ...view, maxLength: 32 });
  await until('the inspections', () => made.length === 2);
  progress[0]?.(256);
  expect(t.pushes).toContainEqual({ channel: 'datasets.inspecting', payload: { id, rows: 256 } });
  made.forEach(({ resolve }, i) => resolve(inspectionOf(i)));
  expect((await Promise.all([...both, other])).map(({ rows }) => rows)).toEqual([0, 0, 1]);
  const again = t.call('datasets.inspect', view);
  await until('another inspection', () => made.length === 3);
  made[2]?.resolve(inspectionOf(2));
  expect((await again).rows).toBe(2);
});

test('datasets: of a refused file the copy that a browser sent is deleted, and no other file', async () => {
  await t.host.close();
  let refuse = true;
  const open = (file: string) =>
    refuse ? Promise.reject(new UserError('data/unsupported-format', file)) : testData.open(file);
  t = openTestHost(folder.root, { data: { ...testData, open } });
  const sent = inFolder('home/uploads/4f2a/data.zip');
  const own = inFolder('sample/data/train.jsonl');
  mkdirSync(path.dirname(sent), { recursive: true });
  writeFileSync(sent, 'PK');
  const importOf = async (file: string) =>
    t.call('datasets.import', { handle: (await t.call('files.register', { path: file })).handle });
  refuse = false;
  await importOf(sent);
  refuse = true;
  await expect(importOf(sent)).rejects.toMatchObject({ code: 'data/unsupported-format' });
  expect(existsSync(sent), 'it is in the list from before').toBe(true);
  const [entry] = await t.call('datasets.list', null);
  await t.call('datasets.remove', { id: entry?.id ?? '' });
  await expect(importOf(sent)).rejects.toMatchObject({ code: 'data/unsupported-format' });
  expect(existsSync(path.dirname(sent))).toBe(false);
  await expect(importOf(own)).rejects.toMatchObject({ code: 'data/unsupported-format' });
  expect(existsSync(own)).toBe(true);
});

const inspectionOf = (rows: number): DatasetInspection => ({
  rows,
  tokens: rows,
  trainedTokens: rows,
  truncatedRows: 0,
  longest: rows,
  histogram: [],
  findings: [],
});

async function staleDraft(datasetId: string, modelId: string) {
  return {
    ...(await t.draft()),
    model: { id: modelId },
    data: { train: [datasetId], validation: { fraction: 0 } },
  };
}

test('the sample: registered once, trained with two methods on equal terms', async () => {
  await expect(t.call('sample.prepare', null)).rejects.toMatchObject({ code: 'sample/missing' });
  mkdirSync(inFolder('sample'), { recursive: true });
  const common = {
    model: { path: 'model' },
    data: { train: [{ path: 'data/train.jsonl' }] },
    train: { steps: 5, seed: 7 },
  };
  const runs = ['full', 'expert-condenser'].map((name) => ({ name, method: { name } }));
  writeFileSync(inFolder('sample/demo.json'), JSON.stringify({ common, runs }));
  const prepared = await t.call('sample.prepare', null);
  expect(await t.call('sample.prepare', null)).toEqual(prepared);
  const started = await t.call('sample.start', null);
  const specs = await Promise.all(started.runs.map(async (id) => (await t.call('runs.get', { id })).spec));
  expect(specs.map(({ method }) => method.name)).toEqual(['full', 'expert-condenser']);
  expect(specs[0]?.model.path).toBe(inFolder('sample/model'));
  const terms = specs.map(({ data, train, model }) => ({ data, train, model }));
  expect(terms[0]).toEqual(terms[1]);
  expect(await t.call('models.list', null)).toHaveLength(1);
});

test('a second host on the same data folder is refused until the first is closed', async () => {
  expect(() => openTestHost(folder.root)).toThrow(expect.objectContaining({ code: 'home/in-use' }) as Error);
  await t.host.close();
  t = openTestHost(folder.root);
  expect(await t.call('runs.list', null)).toEqual([]);
});

test('a data folder that cannot be opened is free for the next try', async () => {
  await t.host.close();
  const file = path.join(t.home, 'app.db');
  const whole = readFileSync(file);
  writeFileSync(file, 'no database');
  expect(() => openTestHost(folder.root)).toThrow(
    expect.objectContaining({ code: 'store/damaged' }) as Error,
  );
  writeFileSync(file, whole);
  t = openTestHost(folder.root);
  expect(await t.call('runs.list', null)).toEqual([]);
});

test('a host for a single run may work beside another, and each sees what the other does', async () => {
  const single = openTestHost(folder.root, { role: 'single' });
  const spec = parseRunSpec({
    model: { path: inFolder('sample/model') },
    data: { train: [{ path: inFolder('sample/data/train.jsonl') }] },
    method: { name: 'full' },
  });
  const id = single.host.startRun(spec, inFolder('elsewhere'));
  await until('the worker', () => single.workers[0]?.start !== undefined);
  expect(single.workers[0]?.start?.runDir).toBe(inFolder('elsewhere'));
  expect(await t.call('runs.list', null)).toMatchObject([{ id, state: 'preparing' }]);
  await until('a notice', () => t.pushes.some(({ channel }) => channel === 'runs.changed'));
  single.workers[0]?.prepare();
  single.workers[0]?.end('completed');
  const ended = await single.host.runEnded(id);
  expect(ended.state).toBe('completed');
  await single.host.close();
  expect(await t.call('runs.list', null)).toMatchObject([{ id, state: 'completed' }]);
});

test('a run goes on though the process that trained it was killed and never said so', async () => {
  const spec = parseRunSpec({
    model: { path: inFolder('sample/model') },
    data: { train: [{ path: inFolder('sample/data/train.jsonl') }] },
    method: { name: 'full' },
  });
  const killed = openTestHost(folder.root, { role: 'single', detachWorkers: true });
  const id = killed.host.startRun(spec, inFolder('elsewhere'));
  await until('the worker', () => killed.workers[0]?.start !== undefined);
  killed.workers[0]?.prepare();
  await until('training', async () => (await killed.call('runs.get', { id })).state === 'running');
  // Both are gone, and neither stored an end.
  await killed.host.close();
  killed.workers[0]?.vanish();
  const next = openTestHost(folder.root, { role: 'single' });
  expect(next.host.resumeRun(inFolder('elsewhere'))).toBe(id);
  await until('another worker', () => next.workers[0]?.start !== undefined);
  next.workers[0]?.prepare();
  next.workers[0]?.end('completed');
  expect((await next.host.runEnded(id)).state).toBe('completed');
  await next.host.close();
});
