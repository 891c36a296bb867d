import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { makeTemporaryFolder, withTemporaryFolder } from './temporary-folder.ts';

test('what a process left that was killed is removed, and nothing of one that lives or is elsewhere', () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  const left = path.join(tmpdir(), `condenser-${hostname()}-${pid}-test-left`);
  const elsewhere = path.join(tmpdir(), `condenser-another.${hostname()}-${pid}-test-left`);
  for (const folder of [left, elsewhere]) mkdirSync(folder);
  writeFileSync(path.join(left, 'file'), 'x');
  const own = makeTemporaryFolder('test');
  expect(existsSync(left)).toBe(false);
  const other = makeTemporaryFolder('test');
  expect([elsewhere, own, other].map((folder) => existsSync(folder))).toEqual([true, true, true]);
  for (const folder of [elsewhere, own, other]) rmSync(folder, { recursive: true });
});

test('a folder is gone when the work in it has ended, however that is', async () => {
  let folder = '';
  const work = withTemporaryFolder('test', (given) => {
    folder = given;
    expect(existsSync(folder)).toBe(true);
    throw new Error('broken');
  });
  await expect(work).rejects.toThrow('broken');
  expect(existsSync(folder)).toBe(false);
});
