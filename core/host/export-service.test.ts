/** Exports of ended runs, with a scripted process in place of the one that writes. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { ExportResult } from '#core/contract/run-export.ts';
import { writeExport } from '#core/store/index.ts';
import { endedRun, makeHome, openTestHost, type TestHost, until } from './host.fixture.ts';
import type { HostPorts } from './ports.ts';

type Write = HostPorts['exports']['write'];

/** What the host asked for, and how it ends. */
interface Asked {
  readonly request: Parameters<Write>[0];
  readonly progress: Parameters<Write>[1];
  readonly done: (result: ExportResult) => void;
  readonly fail: (error: unknown) => void;
}

const refusal = {
  format: 'adapter' as const,
  error: { code: 'export/no-adapters', message: 'the run trained weights with full' },
};

let folder: ReturnType<typeof makeHome>;
let t: TestHost;
let asked: Asked[];

beforeEach(() => {
  folder = makeHome();
  asked = [];
  t = openTestHost(folder.root, {
    exports: {
      refused: () => Promise.resolve([refusal]),
      write: (request, progress, signal) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(new UserError('export/failed', 'it was stopped')));
          asked.push({ request, progress, done: resolve, fail: reject });
        }),
    },
  });
});
afterEach(async () => {
  await t.host.close();
  folder.remove();
});

/** Exports run `id` to a new folder in that of the sample. */
async function start(id: string, place = 'sample', name = 'exported'): Promise<void> {
  const { handle } = await t.call('files.register', { path: path.join(folder.root, place) });
  await t.call('exports.start', { id, format: 'onnx', dtype: 'F16', folder: handle, name });
}

test('an export is asked for with the folder it makes, told of while it is written, and remembered beside the run', async () => {
  const id = await endedRun(t);
  expect(await t.call('exports.refused', { id })).toEqual([refusal]);
  await start(id);
  const request = asked[0]?.request;
  expect(request).toMatchObject({
    runDir: t.host.runDir(id),
    format: 'onnx',
    dtype: 'F16',
  });
  const out = request?.out ?? '';
  expect(out.endsWith(path.join('sample', 'exported'))).toBe(true);
  expect(await t.call('exports.get', { id })).toEqual({ active: { format: 'onnx', out }, done: [] });
  const told = () => t.pushes.filter(({ channel }) => channel === 'exports.changed').length;
  const before = told();
  asked[0]?.progress({ written: 50, of: 200 });
  await until('a notice', () => told() > before);
  expect((await t.call('exports.get', { id })).active?.progress).toEqual({ written: 50, of: 200 });
  const result: ExportResult = {
    format: 'onnx',
    dtype: 'F16',
    out,
    step: 3,
    files: [{ name: 'model.onnx', bytes: 200, sha256: 'a' }],
    tensors: 2,
    logits: { largestDifference: 1e-5, largestLogit: 4, rowsApart: 0 },
    verified: 'run by ONNX Runtime',
    notes: [],
  };
  asked[0]?.done(result);
  await until('the end', async () => (await t.call('exports.get', { id })).active === undefined);
  const kept = { ...result, createdMs: expect.any(Number) as number };
  expect(await t.call('exports.get', { id })).toEqual({ done: [{ ...kept, isThere: false }] });

  // A host that starts later knows it too, and sees whether the folder is there.
  mkdirSync(out);
  await t.host.close();
  t = openTestHost(folder.root);
  expect((await t.call('exports.get', { id })).done).toEqual([{ ...kept, isThere: true }]);
  writeExport(t.host.runDir(id), { ...result, out: `${out}-2`, createdMs: 1 });
  writeExport(t.host.runDir(id), { ...result, step: 4, createdMs: 2 });
  expect((await t.call('exports.get', { id })).done.map((one) => [one.out, one.step])).toEqual([
    [out, 4],
    [`${out}-2`, 3],
  ]);
});

test('only a new folder in a folder is written, and only of a run that has ended', async () => {
  const id = await endedRun(t);
  for (const name of ['..', 'a/b', 'a\\b', ''])
    await expect(start(id, 'sample', name)).rejects.toMatchObject({ code: 'host/bad-input' });
  await expect(start(id, 'sample/data/train.jsonl')).rejects.toMatchObject({ code: 'file/no-folder' });
  await expect(start((await t.call('runs.start', await t.draft())).id)).rejects.toMatchObject({
    code: 'run/wrong-state',
  });
  expect(asked).toEqual([]);
});

test('what fails says why; nothing else is done to a run meanwhile, and a stop leaves no word', async () => {
  const id = await endedRun(t);
  await start(id);
  asked[0]?.fail(new UserError('export/exists', 'exported exists and is not an empty folder.', 'Choose.'));
  await until('the failure', async () => (await t.call('exports.get', { id })).failure !== undefined);
  expect((await t.call('exports.get', { id })).failure).toMatchObject({
    format: 'onnx',
    error: { code: 'export/exists' },
  });
  await start(id);
  await expect(t.call('scores.start', { id, suite: { heldOut: true } })).rejects.toMatchObject({
    code: 'run/busy',
    message: '“a run” is being exported',
  });
  await t.call('scores.stop', { id });
  expect((await t.call('exports.get', { id })).active).toBeDefined();
  await t.call('exports.stop', { id });
  expect(await t.call('exports.get', { id })).toEqual({ done: [] });
  await start(id);
  await t.call('runs.remove', { id });
  expect(t.bugs).toEqual([]);
});
