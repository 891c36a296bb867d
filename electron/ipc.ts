/** Lets the window's own page, and nothing else, call the host. */
import type { BrowserWindow, IpcMain, IpcMainInvokeEvent } from 'electron';
import { UserError } from '#core/contract/errors.ts';
import { findCall } from '#core/contract/host-api.ts';
import { type Result, resultOf } from '#core/contract/result.ts';
import { CALL_CHANNEL, PUSH_CHANNEL } from './channels.ts';
import { isOwnPage } from './security.ts';

/** The part of a host that a page can reach. */
export interface CallableHost {
  call(name: string, input: unknown): Promise<Result<unknown>>;
  onPush(listener: (name: string, payload: unknown) => void): () => void;
}

/** Serves `host` to the page of `window`, until the application ends. */
export function serveHost(ipc: IpcMain, host: CallableHost, window: BrowserWindow): void {
  ipc.handle(CALL_CHANNEL, async (event, name: unknown, input: unknown) => {
    if (!isOwnFrame(event, window)) {
      return resultOf(() => {
        throw new UserError('shell/foreign-frame', 'This page may not call the host.');
      });
    }
    if (typeof name !== 'string' || findCall(name) === undefined) {
      return resultOf(() => {
        throw new UserError('host/unknown-call', `The host has no call ${JSON.stringify(name)}.`);
      });
    }
    return host.call(name, input);
  });
  host.onPush((name, payload) => {
    if (!window.isDestroyed()) window.webContents.send(PUSH_CHANNEL, name, payload);
  });
}

/** The main frame of our window, still on our page. */
function isOwnFrame(event: IpcMainInvokeEvent, window: BrowserWindow): boolean {
  const frame = event.senderFrame;
  if (frame === null || window.isDestroyed()) return false;
  return frame === window.webContents.mainFrame && isOwnPage(frame.url);
}
