/**
 * Starts training processes: in the plain Node that comes with the application, or in a utility process where there is
 * none. Plain Node comes first because Electron's V8 memory cage limits and copies the large buffers of training.
 */
import { utilityProcess } from 'electron';
import { UserError } from '#core/contract/errors.ts';
import type { ProcessExit, SpawnWorker, WorkerProcess } from '#core/host/index.ts';
import { createLink } from '#core/link/index.ts';
import { createSpawnWorker } from '#worker/headless/spawn-worker.ts';
import type { Layout } from './layout.ts';

/** How much of a worker's error output is kept, in characters. */
const TAIL_LENGTH = 4000;

/** Starts workers of `layout`. */
export function workerSpawner(layout: Pick<Layout, 'node' | 'workerScript' | 'utilityEntry'>): SpawnWorker {
  const { node, workerScript, utilityEntry } = layout;
  if (node !== undefined) return createSpawnWorker({ node, entry: workerScript });
  return ({ detached }) => startInUtilityProcess(utilityEntry, workerScript, detached);
}

function startInUtilityProcess(entry: string, script: string, detached: boolean): WorkerProcess {
  if (detached) {
    throw new UserError(
      'worker/cannot-detach',
      'On this machine training cannot go on after Condenser ends.',
      'Turn off "keep training" in the settings.',
    );
  }
  const child = utilityProcess.fork(entry, [script], { serviceName: 'Condenser training', stdio: 'pipe' });
  const end = createLink({
    send: (message) => child.postMessage(message),
    close: () => void child.kill(),
  });
  child.on('message', (message) => end.receive(message));
  let tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_LENGTH);
  });
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (code) => {
      end.closed();
      resolve({ code, signal: null });
    });
  });
  return {
    link: end.link,
    exited,
    errorTail: () => tail,
    kill: () => void child.kill(),
    release: () => undefined,
  };
}
