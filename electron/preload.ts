/** The bridge that the page sees as `window.condenser`; it runs sandboxed and knows no method of the host. */
import { contextBridge, ipcRenderer, webUtils } from 'electron';
import type { Result } from '#core/contract/result.ts';
import { CALL_CHANNEL, PUSH_CHANNEL } from './channels.ts';

contextBridge.exposeInMainWorld('condenser', {
  call: (name: string, input: unknown) =>
    ipcRenderer.invoke(CALL_CHANNEL, name, input) as Promise<Result<unknown>>,
  onPush: (listener: (name: string, payload: unknown) => void) => {
    // The event object stays here: it would hand the page the whole of ipcRenderer.
    const forward = (_event: unknown, name: string, payload: unknown): void => listener(name, payload);
    ipcRenderer.on(PUSH_CHANNEL, forward);
    return () => void ipcRenderer.removeListener(PUSH_CHANNEL, forward);
  },
  /** Path of a dropped or picked file; empty when it is not on disk. */
  pathForFile: (file: File) => webUtils.getPathForFile(file),
});
