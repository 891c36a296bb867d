/** Puts a host together for shells without Electron: the browser host and the command line. */
import path from 'node:path';
import { createHost, type Host, type HostPorts } from '#core/host/index.ts';
import { fromRoot, programVersion } from '#core/process/program-root.ts';
import { dataFolder, enginePorts } from './host-ports.ts';
import { createSpawnWorker, ownWorkerProgram, type WorkerProgram } from './spawn-worker.ts';

/** What differs between uses. */
export interface ComposeOptions {
  /** Data folder; `dataFolder()` when absent. */
  readonly home?: string | undefined;
  /** See `HostPorts.role`; `exclusive` when absent. */
  readonly role?: HostPorts['role'];
  /** Keep training when this process ends. */
  readonly detachWorkers?: boolean;
  /** The program that trains; this program's own worker when absent. */
  readonly worker?: WorkerProgram;
}

/**
 * Opens the data folder with everything the program has.
 * @throws UserError `home/in-use`, and those of the store.
 */
export function composeHost(options: ComposeOptions = {}): Host {
  const home = path.resolve(options.home ?? dataFolder());
  const worker = options.worker ?? ownWorkerProgram();
  return createHost({
    ...enginePorts(home, worker),
    home,
    version: programVersion(),
    shell: 'node',
    role: options.role ?? 'exclusive',
    detachWorkers: options.detachWorkers ?? false,
    spawnWorker: createSpawnWorker(worker),
    sampleDir: fromRoot('resources/sample'),
    now: Date.now,
    reportBug: (error) => console.error(error),
  });
}
