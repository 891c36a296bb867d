/** The one window. */
import { BrowserWindow } from 'electron';
import { PAGE_URL } from './security.ts';

/** Opens the window on the page; `preload` is the built script's path. */
export function openWindow(preload: string): BrowserWindow {
  const window = new BrowserWindow({
    title: 'Condenser',
    width: 1280,
    height: 800,
    minWidth: 800,
    minHeight: 560,
    show: false,
    webPreferences: {
      preload,
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      webviewTag: false,
      spellcheck: false,
    },
  });
  // Shown when it has something to show.
  window.once('ready-to-show', () => window.show());
  // Nothing is lost with the page: the host holds every fact.
  window.webContents.on('render-process-gone', (_event, { reason }) => {
    if (reason !== 'clean-exit') void window.loadURL(PAGE_URL);
  });
  void window.loadURL(PAGE_URL);
  return window;
}
