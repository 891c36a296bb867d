import type { BrowserWindow as Window, IpcMain } from 'electron';
import { beforeEach, expect, test, vi } from 'vitest';
import { CALL_CHANNEL, PUSH_CHANNEL } from './channels.ts';
import { type CallableHost, serveHost } from './ipc.ts';
import { BrowserWindow, ipcHandlers, ipcMain } from './testing/electron-stub.ts';

const call = vi.fn<CallableHost['call']>();
let push: ((name: string, payload: unknown) => void) | undefined;
let window: BrowserWindow;
beforeEach(() => {
  call.mockReset().mockResolvedValue({ ok: true, value: 7 });
  window = new BrowserWindow({ webPreferences: {} });
  const host: CallableHost = {
    call,
    onPush: (listener) => {
      push = listener;
      return () => undefined;
    },
  };
  serveHost(ipcMain as unknown as IpcMain, host, window as unknown as Window);
});
const invoke = (senderFrame: unknown, ...args: unknown[]) =>
  ipcHandlers.get(CALL_CHANNEL)?.({ senderFrame }, ...args);

test("the page's main frame may call what the contract names", async () => {
  expect(await invoke(window.webContents.mainFrame, 'runs.get', { id: 'r' })).toEqual({ ok: true, value: 7 });
  expect(call).toHaveBeenCalledExactlyOnceWith('runs.get', { id: 'r' });
});

test.each([
  ['another frame', { url: 'app://ui/' }],
  ['a foreign frame', { url: 'https://example.org/' }],
  ['a destroyed frame', null],
])('%s is refused', async (_who, frame) => {
  expect(await invoke(frame, 'app.info', undefined)).toMatchObject({
    ok: false,
    error: { code: 'shell/foreign-frame' },
  });
  expect(call).not.toHaveBeenCalled();
});

test('the main frame is refused once it shows another page', async () => {
  window.webContents.mainFrame.url = 'app://other/';
  expect(await invoke(window.webContents.mainFrame, 'app.info')).toMatchObject({ ok: false });
  expect(call).not.toHaveBeenCalled();
});

test.each([
  'nothing.such',
  'runs.changed',
  'runs.constructor',
  '__proto__.toString',
  'app',
  '',
  7,
  undefined,
  {},
])('no call %j exists', async (name) => {
  expect(await invoke(window.webContents.mainFrame, name, undefined)).toMatchObject({
    ok: false,
    error: { code: 'host/unknown-call' },
  });
  expect(call).not.toHaveBeenCalled();
});

test('notices reach the window while it is there', () => {
  push?.('runs.changed', { id: 'r' });
  window.destroy();
  push?.('runs.changed', { id: 'r' });
  expect(window.webContents.sent).toEqual([[PUSH_CHANNEL, 'runs.changed', { id: 'r' }]]);
});
