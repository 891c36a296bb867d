import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { toErrorInfo } from './errors.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'condenser-errors-'));
  writeFileSync(path.join(folder, 'file'), '');
});
afterAll(() => rmSync(folder, { recursive: true }));

function thrownBy(work: () => void): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

test.each([
  ['below a file', () => mkdirSync(path.join(folder, 'file/x/y'), { recursive: true }), 'files/not-a-folder'],
  ['in the place of a file', () => mkdirSync(path.join(folder, 'file'), { recursive: true }), 'files/exists'],
  ['in the place of a folder', () => writeFileSync(folder, ''), 'files/is-a-folder'],
])('what cannot be written %s is told with its path and what to do', (_where, work, code) => {
  const info = toErrorInfo(thrownBy(work));
  expect(info).toMatchObject({ code, hint: expect.stringContaining('Choose another') as unknown });
  expect(info.message).toContain(folder);
});

test.each([
  ['EACCES', 'files/no-permission', '/data: no permission (EACCES)'],
  ['EROFS', 'files/read-only', '/data: the file system is read-only (EROFS)'],
  ['ENOSPC', 'files/disk-full', '/data: the disk is full (ENOSPC)'],
])('%s is told in words', (code, told, message) => {
  const error = Object.assign(new Error('refused'), { code, syscall: 'open', path: '/data' });
  expect(toErrorInfo(error)).toMatchObject({ code: told, message });
});

test('other errors keep their message', () => {
  const missing = Object.assign(new Error('no such file'), { code: 'ENOENT', syscall: 'open' });
  expect(toErrorInfo(missing)).toEqual({ code: 'internal', message: 'no such file' });
  expect(toErrorInfo('words')).toEqual({ code: 'internal', message: 'words' });
});
