import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { layoutOf } from './layout.ts';

const resourcesPath = mkdtempSync(path.join(os.tmpdir(), 'layout-'));
mkdirSync(path.join(resourcesPath, 'runtime'));
writeFileSync(path.join(resourcesPath, 'runtime/node'), '');
afterAll(() => rmSync(resourcesPath, { recursive: true }));
const packaged = {
  appPath: path.join(resourcesPath, 'app.asar'),
  packaged: true,
  resourcesPath,
  platform: 'linux',
  developmentNode: process.execPath,
} as const;

test('a package trains in its own Node, on files outside the archive', () => {
  const layout = layoutOf(packaged);
  expect(layout.node).toBe(path.join(resourcesPath, 'runtime/node'));
  expect(layout.workerScript).toBe(path.join(resourcesPath, 'app.asar.unpacked/out/worker/main.js'));
  expect(layout.page).toBe(path.join(resourcesPath, 'app.asar/out/renderer'));
  expect(layout.sample).toBe(path.join(resourcesPath, 'app.asar.unpacked/resources/sample'));
});

test('a package without Node has none, whatever the environment says', () => {
  expect(layoutOf({ ...packaged, platform: 'win32' }).node).toBeUndefined();
});

test('the repository uses the Node that started it', () => {
  const layout = layoutOf({ ...packaged, appPath: '/repo', packaged: false });
  expect(layout.node).toBe(process.execPath);
  expect(layout.workerScript).toBe(path.join('/repo/out/worker/main.js'));
  expect(layout.sample).toBe(path.join('/repo/resources/sample'));
  expect(layoutOf({ ...packaged, packaged: false, developmentNode: undefined }).node).toBeUndefined();
});
