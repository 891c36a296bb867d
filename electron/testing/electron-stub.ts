/**
 * Enough of Electron's main-process API to run this folder in plain Node: it records what the application sets and
 * lets a test play the system's part. The test configuration puts it in place of the package `electron`.
 */
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';

type Handler = (...args: never[]) => unknown;

/** A page's contents. */
export class WebContentsStub extends EventEmitter {
  readonly mainFrame = { url: 'app://ui/' };
  readonly sent: unknown[][] = [];
  openHandler: ((details: { readonly url: string }) => { action: string }) | undefined;

  setWindowOpenHandler(handler: (details: { readonly url: string }) => { action: string }): void {
    this.openHandler = handler;
  }
  send(...message: unknown[]): void {
    this.sent.push(message);
  }
}

/** Windows, in order of creation. */
export class BrowserWindow extends EventEmitter {
  static readonly all: BrowserWindow[] = [];
  readonly webContents = new WebContentsStub();
  readonly options: { readonly webPreferences: Readonly<Record<string, unknown>> };
  loaded: string | undefined;
  shown = false;
  focused = false;
  #destroyed = false;

  constructor(options: { readonly webPreferences: Readonly<Record<string, unknown>> }) {
    super();
    this.options = options;
    BrowserWindow.all.push(this);
    app.emit('web-contents-created', {}, this.webContents);
  }
  loadURL(url: string): Promise<void> {
    this.loaded = url;
    return Promise.resolve();
  }
  show(): void {
    this.shown = true;
  }
  focus(): void {
    this.focused = true;
  }
  isMinimized(): boolean {
    return false;
  }
  restore(): void {}
  isDestroyed(): boolean {
    return this.#destroyed;
  }
  destroy(): void {
    this.#destroyed = true;
  }
}

/** What was set on the session. */
export const sessionState = {
  permissionRequest: undefined as Handler | undefined,
  permissionCheck: undefined as Handler | undefined,
  devicePermission: undefined as Handler | undefined,
  beforeRequest: undefined as Handler | undefined,
  spellChecker: true,
};
const defaultSession = {
  setPermissionRequestHandler: (handler: Handler) => void (sessionState.permissionRequest = handler),
  setPermissionCheckHandler: (handler: Handler) => void (sessionState.permissionCheck = handler),
  setDevicePermissionHandler: (handler: Handler) => void (sessionState.devicePermission = handler),
  setSpellCheckerEnabled: (on: boolean) => void (sessionState.spellChecker = on),
  webRequest: { onBeforeRequest: (handler: Handler) => void (sessionState.beforeRequest = handler) },
};
export const session = { defaultSession };

/** Calls of `app` and `protocol` that must come before `ready`, in order. */
export const beforeReady: string[] = [];
/** What the application object was told. */
export const appState = { quits: 0, exits: [] as number[], appPath: process.cwd(), lock: true };
export const app = Object.assign(new EventEmitter(), {
  isPackaged: false,
  enableSandbox: () => void beforeReady.push('enableSandbox'),
  requestSingleInstanceLock: () => appState.lock,
  whenReady: async () => {
    await Promise.resolve();
    beforeReady.push('ready');
  },
  getVersion: () => '0.0.0-test',
  getAppPath: () => appState.appPath,
  quit: () => void appState.quits++,
  exit: (code: number) => void appState.exits.push(code),
});

/** Scheme → its handler. */
export const schemes = new Map<string, (request: Request) => Promise<Response>>();
export const protocol = {
  registerSchemesAsPrivileged: (list: readonly { readonly scheme: string }[]) =>
    void beforeReady.push(...list.map((entry) => `scheme ${entry.scheme}`)),
  handle: (scheme: string, handler: (request: Request) => Promise<Response>) =>
    void schemes.set(scheme, handler),
};

/** Channel → its handler. */
export const ipcHandlers = new Map<string, (event: unknown, ...args: unknown[]) => Promise<unknown>>();
export const ipcMain = {
  handle: (channel: string, handler: (event: unknown, ...args: unknown[]) => Promise<unknown>) =>
    void ipcHandlers.set(channel, handler),
};

/** What dialogs were shown, and what the user answers. */
export const dialogState = {
  shown: [] as unknown[],
  paths: [] as string[],
  button: 0,
};
export const dialog = {
  showOpenDialog: (...args: unknown[]) => {
    dialogState.shown.push(args.at(-1));
    return Promise.resolve({ canceled: dialogState.paths.length === 0, filePaths: dialogState.paths });
  },
  showMessageBox: (options: unknown) => {
    dialogState.shown.push(options);
    return Promise.resolve({ response: dialogState.button });
  },
  showErrorBox: (title: string, text: string) => void dialogState.shown.push({ title, text }),
};

/** The last menu set. */
export const menuState = { template: [] as { readonly role?: string; readonly submenu?: unknown }[] };
export const Menu = {
  buildFromTemplate: (template: { readonly role?: string }[]) => template,
  setApplicationMenu: (template: { readonly role?: string }[]) => void (menuState.template = template),
};

/** A forked utility process. */
export class UtilityProcessStub extends EventEmitter {
  readonly stderr = new PassThrough();
  readonly received: unknown[] = [];
  readonly entry: string;
  readonly args: readonly string[];
  killed = false;

  constructor(entry: string, args: readonly string[]) {
    super();
    this.entry = entry;
    this.args = args;
  }
  postMessage(message: unknown): void {
    this.received.push(message);
  }
  kill(): boolean {
    this.killed = true;
    this.emit('exit', 143);
    return true;
  }
}
/** Forks, in order. */
export const forks: UtilityProcessStub[] = [];
export const utilityProcess = {
  fork: (entry: string, args: readonly string[]) => {
    const child = new UtilityProcessStub(entry, args);
    forks.push(child);
    return child;
  },
};

/** What the preload script exposed, by name. */
export const exposed = new Map<string, Record<string, Handler>>();
export const contextBridge = {
  exposeInMainWorld: (name: string, api: Record<string, Handler>) => void exposed.set(name, api),
};
/** The renderer's side of the channels; `invoked` holds what was called. */
export const invoked: unknown[][] = [];
export const ipcRenderer = Object.assign(new EventEmitter(), {
  invoke: (...message: unknown[]) => {
    invoked.push(message);
    return Promise.resolve({ ok: true, value: null });
  },
});
export const webUtils = { getPathForFile: (file: { readonly name: string }) => `/dropped/${file.name}` };
