/** The desktop shell from start to end: one host, one window. */
import { app, type BrowserWindow, ipcMain, protocol, session } from 'electron';
import { hostApi } from '#core/contract/host-api.ts';
import { isEnded } from '#core/contract/run-state.ts';
import { createHost, type Host, type HostPorts } from '#core/host/index.ts';
import { registerPageScheme, servePage } from './app-protocol.ts';
import { choosePath, confirmQuit } from './dialogs.ts';
import { serveHost } from './ipc.ts';
import type { WorkerProgram } from '#worker/headless/spawn-worker.ts';
import { layoutOf } from './layout.ts';
import { setMenu } from './menu.ts';
import { hardenPages, hardenSession } from './security.ts';
import { workerSpawner } from './spawn-worker.ts';
import { openWindow } from './window.ts';

/** What the shell does not know how to do itself: read models and data, plan runs, ask them questions, export them. */
export type EnginePorts = Pick<
  HostPorts,
  'models' | 'data' | 'planner' | 'askSuite' | 'exports' | 'device' | 'networkRequests'
>;

/**
 * Runs the application on the data folder `home`. Everything that Electron wants before `ready` happens before the
 * first await. A second instance hands over to the first and ends.
 * @param engineOf what the engine gives, for the program that trains.
 * @throws UserError of the host when the data folder cannot be opened.
 */
export async function runDesktop(
  home: string,
  engineOf: (worker: WorkerProgram) => EnginePorts,
): Promise<void> {
  if (!app.requestSingleInstanceLock()) {
    app.quit();
    return;
  }
  app.enableSandbox();
  registerPageScheme(protocol);
  hardenPages(app);
  await app.whenReady();

  const layout = layoutOf({
    appPath: app.getAppPath(),
    packaged: app.isPackaged,
    resourcesPath: process.resourcesPath,
    platform: process.platform,
    developmentNode: process.env['CONDENSER_NODE'],
  });
  const engine = engineOf({ node: layout.node ?? process.execPath, entry: layout.workerScript });
  const cancelledRequests = hardenSession(session.defaultSession);
  const host = createHost({
    ...engine,
    home,
    version: app.getVersion(),
    shell: 'electron',
    role: 'exclusive',
    detachWorkers: false,
    spawnWorker: workerSpawner(layout),
    networkRequests: () => engine.networkRequests() + cancelledRequests(),
    choosePath: (kind) => choosePath(window, kind),
    sampleDir: layout.sample,
    now: Date.now,
    reportBug: (error) => console.error(error),
  });

  servePage(protocol, layout.page);
  setMenu(process.platform, app.isPackaged);
  const window = openWindow(layout.preload);
  serveHost(ipcMain, host, window);
  app.on('second-instance', () => {
    if (window.isMinimized()) window.restore();
    window.focus();
  });
  quitWithCare(host, window);
}

/** Asks before runs are interrupted, and ends only when the host has saved them. */
function quitWithCare(host: Host, window: BrowserWindow): void {
  let asking = false;
  const quit = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    const running = await countRunning(host);
    if (running === 0 || (await confirmQuit(running))) {
      await host.close();
      app.exit(0);
    }
    asking = false;
  };
  // The window stays until the answer is known.
  window.on('close', (event) => {
    event.preventDefault();
    app.quit();
  });
  app.on('before-quit', (event) => {
    event.preventDefault();
    void quit();
  });
}

async function countRunning(host: Host): Promise<number> {
  const reply = await host.call('runs.list', undefined);
  if (!reply.ok) return 0;
  const runs = hostApi.runs.list.output.parse(reply.value);
  return runs.filter((run) => run.state !== 'draft' && !isEnded(run.state)).length;
}
