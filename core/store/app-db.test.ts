import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import type { ModelEntry } from '#core/contract/model.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { defaultSettings } from '#core/contract/settings.ts';
import {
  newId,
  openAppDb,
  openRunWriter,
  readRunSpec,
  rebuildRuns,
  runFiles,
  type RunRow,
  writeRunSpec,
} from './index.ts';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'app-db-'));
  file = path.join(dir, 'app.db');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const model: ModelEntry = {
  id: 'model_1',
  addedMs: 5,
  path: '/models/a',
  name: 'a',
  family: 'olmoe',
  parameters: { total: 10, active: 5, byKind: { expert: 8 } },
  layers: 2,
  moeLayers: 2,
  experts: 4,
  expertsPerToken: 2,
  hiddenSize: 8,
  vocabularySize: 16,
  dtype: 'float32',
  bytes: 40,
  shards: 1,
  tokenizer: { present: true, chatTemplate: false },
  problems: [],
};
const dataset: DatasetEntry = {
  id: 'data_1',
  name: 'rows',
  path: '/data/rows.jsonl',
  bytes: 100,
  rows: 3,
  fileFormat: 'jsonl',
  columns: ['prompt', 'response'],
  recordFormat: 'prompt-response',
  mapping: { prompt: 'prompt', response: 'response' },
  sha256: 'ff',
  addedMs: 6,
};
const run: RunRow = {
  id: 'run_1',
  name: 'first',
  state: 'failed',
  dir: '/runs/run_1',
  createdMs: 7,
  method: 'full',
  modelName: 'a',
  exit: 'failed',
  error: { code: 'x/y', message: 'm' },
  reason: 'because',
};
const spec = parseRunSpec({
  name: 'with condensers',
  model: { path: '/models/sample' },
  data: { train: [{ path: '/data/a.jsonl' }] },
  method: { name: 'expert-condenser' },
});

test('entries are kept, replaced and removed', () => {
  let db = openAppDb(file);
  db.models.put(model);
  db.datasets.put(dataset);
  db.runs.put(run);
  db.close();
  db = openAppDb(file);
  expect([db.models.list(), db.datasets.list(), db.runs.list()]).toEqual([[model], [dataset], [run]]);
  expect([db.models.get('model_1'), db.runs.byDir('/runs/run_1')]).toEqual([model, run]);
  const { id, name, dir: runDir, createdMs, method, modelName } = run;
  const again: RunRow = { id, name, dir: runDir, createdMs, method, modelName, state: 'queued' };
  db.runs.put(again);
  expect(db.runs.get('run_1')).toEqual(again);
  expect([db.runs.remove('run_1'), db.runs.remove('run_1'), db.runs.list()]).toEqual([true, false, []]);
  db.close();
});

test('settings start at their defaults', () => {
  const db = openAppDb(file);
  expect(db.settings.get()).toEqual({
    theme: 'system',
    provider: 'auto',
    threads: 'auto',
    memoryBudgetMB: null,
    deviceMemoryMB: null,
  });
  const chosen = {
    theme: 'dark',
    provider: 'webgpu',
    threads: 4,
    memoryBudgetMB: 1000,
    deviceMemoryMB: 500,
  } as const;
  db.settings.set(chosen);
  expect(db.settings.get()).toEqual(chosen);
  db.close();
});

test('settings that an older version did not know have their defaults', () => {
  openAppDb(file).close();
  new Database(file).exec(`INSERT INTO setting(id, document) VALUES (1, '{"theme":"dark"}')`).close();
  const db = openAppDb(file);
  expect(db.settings.get()).toEqual({ ...defaultSettings, theme: 'dark' });
  db.close();
});

test('a path has one handle, and a handle that was never given out has no path', () => {
  const db = openAppDb(file);
  const handle = db.files.register('/data/a.jsonl');
  expect(db.files.register('/data/a.jsonl')).toBe(handle);
  expect(db.files.register('/data/b.jsonl')).not.toBe(handle);
  expect([db.files.pathOf(handle), db.files.pathOf('file_guess')]).toEqual(['/data/a.jsonl', undefined]);
  db.close();
});

test('runs are found again from their directories', () => {
  const runs = path.join(dir, 'runs');
  const make = (name: string) => {
    const at = path.join(runs, name);
    mkdirSync(at, { recursive: true });
    writeRunSpec(at, spec);
    return at;
  };
  const completed = openRunWriter(runFiles(make('run_completed')).db, { pid: 1 });
  completed.ended('completed', 3);
  completed.close();
  const lost = openRunWriter(runFiles(make('run_lost')).db, { pid: 1 });
  lost.event('started', 0, 'Started.');
  lost.close();
  make('my run');
  const live = openRunWriter(runFiles(make('run_live')).db, { pid: 1 });
  mkdirSync(path.join(runs, 'run_broken'));
  writeFileSync(runFiles(path.join(runs, 'run_broken')).spec, '{');

  const db = openAppDb(file);
  const { added, problems } = rebuildRuns(db, runs);
  expect(added.toSorted()).toEqual(['run_completed', 'run_live', 'run_lost', 'run_my-run']);
  expect(problems).toEqual([expect.stringContaining('run_broken')]);
  const states = Object.fromEntries(db.runs.list().map((row) => [row.id, row.state]));
  expect(states).toEqual({
    run_completed: 'completed',
    run_live: 'running',
    run_lost: 'interrupted',
    'run_my-run': 'stopped',
  });
  expect(db.runs.get('run_lost')).toMatchObject({
    name: 'with condensers',
    method: 'expert-condenser',
    modelName: 'sample',
  });
  expect(rebuildRuns(db, runs).added).toEqual([]);
  expect(rebuildRuns(db, path.join(dir, 'none'))).toEqual({ added: [], problems: [] });
  live.close();
  db.close();
});

test('run.json is a run specification again', () => {
  writeRunSpec(dir, spec);
  expect(readRunSpec(dir)).toEqual(spec);
  expect(() => readRunSpec(path.join(dir, 'none'))).toThrow(expect.objectContaining({ code: 'run/no-spec' }));
});

test('identifiers have the form the contract asks for', () => {
  expect(newId('run')).toMatch(/^run_[A-Za-z0-9_-]{16}$/);
});
