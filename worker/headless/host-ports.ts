/** The parts of this program that a host is given, in both shells. */
import os from 'node:os';
import path from 'node:path';
import type { HostPorts } from '#core/host/index.ts';
import { fromRoot } from '#core/process/program-root.ts';
import { dataPort } from './data-port.ts';
import { readDeviceInfo } from './device-info.ts';
import { findAdapter, probeBeside, type AdapterSearch } from '#worker/runtime/index.ts';
import { countNetworkRequests } from './network-counter.ts';
import { exportBeside, previewBeside, scoreBeside } from './process-beside.ts';
import { ownWorkerProgram, type WorkerProgram } from './spawn-worker.ts';

/**
 * Models, data, plans and the machine. Each is loaded at its first use, so that a host starts at once; training is
 * always in a process of its own.
 * @param home the data folder, whose disk counts.
 * @param worker the program that trains; its graphics adapter counts.
 */
export function enginePorts(
  home = dataFolder(),
  worker: WorkerProgram = ownWorkerProgram(),
): Pick<HostPorts, 'models' | 'data' | 'planner' | 'askSuite' | 'exports' | 'device' | 'networkRequests'> {
  const train = () => import('#worker/train/index.ts');
  const probe = probeBeside(worker.node, worker.entry);
  // A driver does not change while the program runs.
  let search: Promise<AdapterSearch> | undefined;
  return {
    models: {
      inspect: async (dir) => (await train()).inspectModel(dir),
      sha256: async (dir) => {
        const { openModelFolder } = await import('#worker/checkpoint/index.ts');
        return (await openModelFolder(dir)).sha256();
      },
    },
    data: dataPort,
    planner: {
      methods: async () => (await train()).listMethods(),
      plan: async (spec) => (await train()).planRun(spec, probe),
      previewExperts: (spec, cacheDir) => previewBeside(worker, spec, cacheDir),
    },
    askSuite: (request, onProgress, signal) => scoreBeside(worker, request, onProgress, signal),
    exports: {
      refused: async (runDir) => (await import('#worker/export/index.ts')).refusedFormats(runDir),
      write: (request, onProgress, signal) => exportBeside(worker, request, onProgress, signal),
    },
    device: async () => readDeviceInfo(home, await (search ??= findAdapter(probe, sampleModel()))),
    networkRequests: countNetworkRequests(),
  };
}

/** `CONDENSER_HOME`, or the place where this system keeps the data of programs. */
export function dataFolder(): string {
  const given = process.env['CONDENSER_HOME'];
  if (given !== undefined && given !== '') return given;
  switch (process.platform) {
    case 'darwin':
      return path.join(os.homedir(), 'Library/Application Support/Condenser');
    case 'win32':
      return path.join(process.env['LOCALAPPDATA'] ?? path.join(os.homedir(), 'AppData/Local'), 'Condenser');
    default:
      return path.join(process.env['XDG_DATA_HOME'] ?? path.join(os.homedir(), '.local/share'), 'condenser');
  }
}

/** Folder of the bundled model. */
export function sampleModel(): string {
  return fromRoot('resources/sample/sample-moe');
}
