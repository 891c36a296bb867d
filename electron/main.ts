/** Entry point of the desktop application. */
import { app } from 'electron';
import { dataFolder, enginePorts } from '#worker/headless/host-ports.ts';
import { runDesktop } from './desktop.ts';
import { reportFatal } from './dialogs.ts';

const home = dataFolder();
// Not awaited: Electron is not ready before this module has been evaluated.
runDesktop(home, (worker) => enginePorts(home, worker)).catch((error: unknown) => {
  reportFatal(error);
  app.exit(1);
});
