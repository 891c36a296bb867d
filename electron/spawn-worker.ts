/**
 * Starts training processes: in the plain Node that comes with the application, or in a utility process where there is
 * none. Plain Node comes first because Electron's V8 memory cage limits and copies the large buffers of training.
 */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { utilityProcess } from 'electron';
import { UserError } from '#core/contract/errors.ts';
import type { ProcessExit, SpawnWorker, WorkerProcess } from '#core/host/index.ts';
import { createLink, processLink } from '#core/link/index.ts';
import type { Layout } from './layout.ts';

/** How much of a worker's error output is kept, in characters. */
const TAIL_LENGTH = 4000;

/** Starts workers of `layout`. */
export function workerSpawner(layout: Pick<Layout, 'node' | 'workerScript' | 'utilityEntry'>): SpawnWorker {
  const { node, workerScript, utilityEntry } = layout;
  return ({ detached }) =>
    node === undefined
      ? startInUtilityProcess(utilityEntry, workerScript, detached)
      : startInNode(node, workerScript, detached);
}

function startInNode(node: string, script: string, detached: boolean): WorkerProcess {
  const child = spawn(node, [script], {
    detached,
    serialization: 'advanced',
    windowsHide: true,
    // A detached worker outlives its parent, and with it the other end of a pipe.
    stdio: ['ignore', 'ignore', detached ? 'ignore' : 'pipe', 'ipc'],
  });
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    // It never started: 'exit' does not follow.
    child.once('error', () => resolve({ code: null, signal: null }));
  });
  return {
    link: processLink(child),
    exited,
    errorTail: keepTail(child.stderr),
    kill: () => void child.kill('SIGKILL'),
    release: () => {
      child.disconnect();
      child.unref();
    },
  };
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
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (code) => {
      end.closed();
      resolve({ code, signal: null });
    });
  });
  return {
    link: end.link,
    exited,
    errorTail: keepTail(child.stderr),
    kill: () => void child.kill(),
    release: () => undefined,
  };
}

/** Keeps the end of what `stream` carries. */
function keepTail(stream: Readable | NodeJS.ReadableStream | null): () => string {
  let tail = '';
  stream?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_LENGTH);
  });
  return () => tail;
}
