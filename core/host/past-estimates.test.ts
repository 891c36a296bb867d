import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openAppDb, openRunWriter, runFiles } from '#core/store/index.ts';
import { pastErrorsIn } from './past-estimates.ts';

let home = '';
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'past-estimates-'));
  vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(home, { recursive: true, force: true });
});

/** A completed run that took `seconds` where `low` to `high` were estimated. */
function addRun(name: string, seconds: number, low: number, high: number): void {
  const dir = path.join(home, 'runs', name);
  mkdirSync(dir, { recursive: true });
  const writer = openRunWriter(runFiles(dir).db, { pid: process.pid });
  writer.facts({
    family: 'olmoe',
    layers: 1,
    moeLayers: 1,
    moeLayerIndices: [0],
    experts: 4,
    expertsPerToken: 2,
    trainableParameters: 10,
    totalParameters: 20,
    totalSteps: 4,
    trainRows: 8,
    validationRows: 2,
    hashes: {},
    provider: 'cpu',
    threads: 2,
    estimatedMemoryMB: 12,
    estimatedSeconds: { low, high },
  });
  writer.event('started', 0, 'started');
  vi.setSystemTime(Date.now() + 1000 * seconds);
  writer.ended('completed', 4);
  writer.close();
  const db = openAppDb(path.join(home, 'app.db'));
  const row = {
    name,
    state: 'completed',
    dir,
    createdMs: Date.now(),
    method: 'full',
    modelName: 'm',
  } as const;
  db.runs.put({ id: `run_${name}`, ...row });
  db.close();
}

test('time is held against the middle of the estimate', () => {
  addRun('long', 30, 10, 30);
  expect(pastErrorsIn(home)).toEqual({ time: { runs: 1, median: 0.5, lowest: 0.5, highest: 0.5 } });
});

test('a run of a moment says nothing about the time of steps', () => {
  addRun('short', 5, 0.02, 0.06);
  expect(pastErrorsIn(home)).toEqual({});
});
