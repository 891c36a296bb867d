import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CALL_CHANNEL } from './channels.ts';
import { type EnginePorts, runDesktop } from './desktop.ts';
import {
  app,
  appState,
  beforeReady,
  BrowserWindow,
  dialogState,
  ipcHandlers,
  menuState,
  schemes,
  sessionState,
} from './testing/electron-stub.ts';

const home = mkdtempSync(path.join(os.tmpdir(), 'desktop-'));
afterAll(() => rmSync(home, { recursive: true }));

const unused = (): never => {
  throw new Error('not part of this test');
};
const engine: EnginePorts = {
  models: { inspect: unused, sha256: unused },
  data: { open: unused, inspect: unused, preview: unused, sample: unused },
  askSuite: unused,
  exports: { refused: unused, write: unused },
  planner: { methods: () => Promise.resolve([]), plan: unused, previewExperts: unused },
  device: unused,
  networkRequests: () => 2,
};

let window: BrowserWindow;
beforeAll(async () => {
  vi.stubGlobal('process', Object.assign(process, { resourcesPath: home }));
  await runDesktop(home, () => engine);
  const [first] = BrowserWindow.all;
  if (first === undefined) throw new Error('no window was opened');
  window = first;
});
const call = (name: string, input?: unknown) =>
  ipcHandlers.get(CALL_CHANNEL)?.({ senderFrame: window.webContents.mainFrame }, name, input);

test('sandbox and scheme are set before ready', () => {
  expect(beforeReady).toEqual(['enableSandbox', 'scheme app', 'ready']);
});

test('the window is sandboxed and shows the page', () => {
  expect(window.options.webPreferences).toMatchObject({
    sandbox: true,
    contextIsolation: true,
    nodeIntegration: false,
    webviewTag: false,
  });
  expect(window.options.webPreferences['preload']).toMatch(/preload\.cjs$/);
  expect(window.loaded).toBe('app://ui/');
  expect(window.shown).toBe(false);
  window.emit('ready-to-show');
  expect(window.shown).toBe(true);
  expect(window.webContents.openHandler?.({ url: 'https://example.org/' })).toEqual({ action: 'deny' });
  expect(sessionState.permissionRequest).toBeDefined();
  expect([...schemes.keys()]).toEqual(['app']);
});

test('the page reaches the host, and learns what left the machine', async () => {
  expect(await call('app.info')).toEqual({
    ok: true,
    value: { version: '0.0.0-test', shell: 'electron', home, networkRequests: 2 },
  });
  expect(await call('runs.list')).toEqual({ ok: true, value: [] });
});

test("a path is chosen in the system's dialog and handed on as a handle", async () => {
  dialogState.paths = [home];
  expect(await call('files.choose', { kind: 'folder' })).toEqual({
    ok: true,
    value: { handle: expect.stringMatching(/^file_/) as string, name: path.basename(home) },
  });
  expect(dialogState.shown.at(-1)).toMatchObject({ properties: ['openDirectory'] });
  dialogState.paths = [];
  expect(await call('files.choose', { kind: 'data' })).toEqual({ ok: true, value: null });
});

test('the developer tools are in the menu of an unpackaged build only', async () => {
  const { setMenu } = await import('./menu.ts');
  expect(JSON.stringify(menuState.template)).toContain('toggleDevTools');
  setMenu('linux', true);
  expect(JSON.stringify(menuState.template)).not.toContain('toggleDevTools');
  setMenu('darwin', true);
  expect(menuState.template[0]).toEqual({ role: 'appMenu' });
});

test('a second start brings the window forward', () => {
  app.emit('second-instance');
  expect(window.focused).toBe(true);
});

test('a crashed page is loaded again', () => {
  window.loaded = undefined;
  window.webContents.emit('render-process-gone', {}, { reason: 'crashed' });
  expect(window.loaded).toBe('app://ui/');
});

test('closing the window quits once the host has let go of the data folder', async () => {
  const prevented = vi.fn<() => void>();
  window.emit('close', { preventDefault: prevented });
  expect(appState.quits).toBe(1);
  app.emit('before-quit', { preventDefault: prevented });
  expect(prevented).toHaveBeenCalledTimes(2);
  await vi.waitFor(() => expect(appState.exits).toEqual([0]));
  // The folder is free: another host may open it.
  const { createHost } = await import('#core/host/index.ts');
  const ports = {
    ...engine,
    home,
    version: '1',
    shell: 'node',
    role: 'exclusive',
    detachWorkers: false,
  } as const;
  const rest = { spawnWorker: unused, sampleDir: home, now: Date.now, reportBug: unused };
  await createHost({ ...ports, ...rest }).close();
});

test('a second instance leaves at once', async () => {
  appState.lock = false;
  const windows = BrowserWindow.all.length;
  await runDesktop(home, () => engine);
  expect(appState.quits).toBe(2);
  expect(BrowserWindow.all).toHaveLength(windows);
});
