/** What is said of runs before they start, and of several together. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeHome, openTestHost, type TestHost, until } from './host.fixture.ts';

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

test('a plan is made of the whole specification', async () => {
  expect(await t.call('runs.plan', await t.draft())).toMatchObject({ ok: true, steps: 3 });
});

test('a plan says how far the estimates of finished runs were off', async () => {
  const draft = await t.draft();
  expect((await plan()).pastErrors).toEqual({});
  const finish = async () => {
    const before = t.workers.length;
    await t.call('runs.start', draft);
    await until('a worker', () => t.workers[before]?.start !== undefined);
    return t.workers[before];
  };
  const first = await finish();
  first?.prepare();
  first?.step();
  // A run that did not reach its end says nothing about the estimate.
  first?.end('stopped');
  expect((await plan()).pastErrors).toEqual({});
  const second = await finish();
  second?.prepare();
  second?.step();
  second?.end('completed');
  await until('an error', async () => (await plan()).pastErrors?.memory !== undefined);
  // 50 MB were measured, 5 estimated; the worker wrote no start to take the time from.
  expect((await plan()).pastErrors).toEqual({ memory: { runs: 1, median: 9, lowest: 9, highest: 9 } });

  function plan() {
    return t.call('runs.plan', draft);
  }
});

test('a comparison is planned as a whole and queued seed by seed on equal terms', async () => {
  const { model, data } = await t.draft();
  const draft = {
    model,
    data,
    name: 'fair',
    methods: [{ name: 'full' }, { name: 'lora', options: { rank: 4 } }, { name: 'lora', label: 'lora wide' }],
    seeds: [7, 8],
  };
  const plan = await t.call('compare.plan', draft);
  const one = await t.call('runs.plan', await t.draft());
  expect(plan).toMatchObject({ ok: true, problems: [], runs: 6 });
  expect(plan.methods.map(({ label }) => label)).toEqual(['full', 'lora', 'lora wide']);
  expect(plan.diskMB.total).toBe(6 * one.diskMB.total);
  expect(plan.memoryMB.high).toBe(one.memoryMB.high);
  const { ids } = await t.call('compare.start', draft);
  const runs = await Promise.all(ids.map((id) => t.call('runs.get', { id })));
  expect(runs.map(({ name }) => name)).toEqual([
    'fair · full · seed 7',
    'fair · lora · seed 7',
    'fair · lora wide · seed 7',
    'fair · full · seed 8',
    'fair · lora · seed 8',
    'fair · lora wide · seed 8',
  ]);
  expect(runs.map(({ spec }) => spec.train.seed)).toEqual([7, 7, 7, 8, 8, 8]);
  expect(runs[4]?.spec.method).toEqual({ name: 'lora', options: { rank: 4 } });
  // The same rows are held out whatever the seed; nothing else differs.
  const terms = runs.map(({ spec }) =>
    JSON.stringify({ ...spec, name: '', method: '', train: { ...spec.train, seed: 0 } }),
  );
  expect(new Set(terms).size).toBe(1);
  expect(runs[5]?.spec.data.validation).toEqual({ fraction: 0.1, seed: 7 });
  const seeds = Array.from({ length: 17 }, (_, seed) => seed);
  await expect(t.call('compare.start', { ...draft, seeds })).rejects.toMatchObject({
    message: expect.stringContaining('51 runs') as string,
  });
  await expect(t.call('compare.start', { ...draft, seeds: [1, 1] })).rejects.toMatchObject({
    message: expect.stringContaining('a seed is given twice') as string,
  });
});

test('learning rates of a method count in the plan of a comparison and in its queue', async () => {
  const { model, data } = await t.draft();
  const draft = {
    model,
    data,
    name: 'sweep',
    methods: [{ name: 'full', learningRates: [1e-4, 1e-3, 1e-2] }, { name: 'lora' }],
    seeds: [7, 8],
    train: { learningRate: 2e-5 },
  };
  const plan = await t.call('compare.plan', draft);
  const one = await t.call('runs.plan', await t.draft());
  expect(plan.runs).toBe(8);
  expect(plan.methods.map(({ label, runs }) => [label, runs])).toEqual([
    ['full', 6],
    ['lora', 2],
  ]);
  expect(plan.diskMB.total).toBe(8 * one.diskMB.total);
  const { ids } = await t.call('compare.start', draft);
  const runs = await Promise.all(ids.map((id) => t.call('runs.get', { id })));
  expect(runs.map(({ spec }) => [spec.method.name, spec.train.learningRate, spec.train.seed])).toEqual([
    ['full', 1e-4, 7],
    ['full', 1e-3, 7],
    ['full', 1e-2, 7],
    ['lora', 2e-5, 7],
    ['full', 1e-4, 8],
    ['full', 1e-3, 8],
    ['full', 1e-2, 8],
    ['lora', 2e-5, 8],
  ]);
});

test('compare and report read finished runs', async () => {
  const draft = await t.draft();
  const ids: string[] = [];
  for (const method of ['full', 'expert-condenser']) {
    const { id } = await t.call('runs.start', { ...draft, name: method, method: { name: method } });
    ids.push(id);
  }
  for (const [i, id] of ids.entries()) {
    await until('the worker', () => t.workers[i]?.start !== undefined);
    const worker = t.workers[i];
    worker?.prepare();
    for (let step = 0; step < 3; step++) worker?.step();
    worker?.end('completed');
    await until('the end', async () => (await t.call('runs.get', { id })).state === 'completed');
  }
  const comparison = await t.call('compare.get', { ids });
  expect(comparison.runs.map(({ name, steps }) => [name, steps])).toEqual([
    ['full', 3],
    ['expert-condenser', 3],
  ]);
  expect(comparison.differences).toContainEqual({
    field: 'method.name',
    values: ['"full"', '"expert-condenser"'],
  });
  const html = await t.call('reports.build', { ids, format: 'html' });
  expect(html.fileName).toBe('comparison.html');
  expect(html.text).toContain('<!doctype html>');
  const markdown = await t.call('reports.build', { ids: ids.slice(0, 1), format: 'markdown' });
  expect(markdown).toMatchObject({ fileName: 'report.md', text: expect.stringContaining('full') as string });
  const json = await t.call('reports.build', { ids, format: 'json' });
  expect(() => JSON.parse(json.text) as unknown).not.toThrow();
});

test('findings are those of the step that is asked for', async () => {
  const { id } = await t.call('runs.start', await t.draft());
  await until('the worker', () => t.workers[0]?.start !== undefined);
  const worker = t.workers[0];
  worker?.prepare();
  worker?.step();
  worker?.evaluation(2);
  worker?.step();
  worker?.evaluation(1);
  worker?.step();
  worker?.evaluation(3);
  const found = (step?: number) =>
    t.call('runs.findings', { id, step }).then((list) => list.map(({ rule }) => rule));
  expect(await found()).toEqual(['overfitting', 'drift']);
  expect(await found(2)).toEqual(['validation', 'drift']);
  expect(await found(1)).toEqual([]);
});
