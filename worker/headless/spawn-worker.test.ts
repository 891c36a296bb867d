/** What becomes of a worker's errors, with and without its host. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { createSpawnWorker } from './spawn-worker.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'condenser-spawn-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A spawner of `script`. */
function program(name: string, script: string) {
  const entry = path.join(folder, `${name}.mjs`);
  writeFileSync(entry, script);
  return createSpawnWorker({ node: process.execPath, entry });
}

test('a detached worker writes errors after its host is gone, and lives', async () => {
  const [done, errorLog] = [path.join(folder, 'done'), path.join(folder, 'worker.log')];
  const spawnWorker = program(
    'detached',
    `import { writeFileSync } from 'node:fs';
     process.on('disconnect', () => {
       process.stderr.write('after the host\\n');
       // A broken pipe is told a moment later.
       setTimeout(() => writeFileSync(${JSON.stringify(done)}, ''), 100);
     });`,
  );
  spawnWorker({ detached: true, errorLog }).release();
  await vi.waitFor(() => expect(existsSync(done)).toBe(true), { timeout: 10_000, interval: 20 });
  expect(readFileSync(errorLog, 'utf8')).toBe('after the host\n');
});

test('the last words of a detached worker explain its end to a host that is there', async () => {
  const spawnWorker = program('crash', `throw new Error('out of coffee')`);
  const worker = spawnWorker({ detached: true, errorLog: path.join(folder, 'crash.log') });
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.errorTail()).toContain('out of coffee');
});

test('a detached worker starts where no log can be written', async () => {
  const spawnWorker = program('quiet', `process.exit(7)`);
  const worker = spawnWorker({ detached: true, errorLog: path.join(folder, 'none/worker.log') });
  expect(await worker.exited).toEqual({ code: 7, signal: null });
  expect(worker.errorTail()).toBe('');
});
