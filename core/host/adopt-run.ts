/** Watches a run whose worker was started by another process: a detached one, or one of the command line. */
import { UserError } from '#core/contract/errors.ts';
import { classifyExit, type RunEnd } from './classify-exit.ts';
import { isRunAlive, readHeartbeat } from './liveness.ts';
import type { RunReaders } from './run-readers.ts';
import type { SupervisedRun } from './worker-supervisor.ts';

const POLL_MS = 1000;

/** Follows the run in `runDir` by its files until its process is gone. */
export function adoptRun(
  runDir: string,
  readers: RunReaders,
  now: () => number,
  advanced: (lastStep: number, lastEvent: number) => void,
): SupervisedRun {
  let released = false;
  let seen = '';
  let killed = false;

  const ended = new Promise<RunEnd>((resolve) => {
    const timer = setInterval(() => {
      if (released) {
        clearInterval(timer);
        return;
      }
      const marks = readers.read(runDir, { lastStep: 0, lastEvent: 0 }, (reader) => reader.marks());
      if (`${marks.lastStep} ${marks.lastEvent}` !== seen) {
        seen = `${marks.lastStep} ${marks.lastEvent}`;
        advanced(marks.lastStep, marks.lastEvent);
      }
      if (isRunAlive(runDir, now())) return;
      clearInterval(timer);
      resolve(endOfLostRun(runDir, readers, killed));
    }, POLL_MS);
    timer.unref();
  });

  const signal = (name: 'SIGTERM' | 'SIGKILL'): void => {
    const heartbeat = readHeartbeat(runDir);
    if (heartbeat && isRunAlive(runDir, now())) process.kill(heartbeat.pid, name);
  };

  return {
    foreign: true,
    ended,
    command: (command) => {
      switch (command) {
        case 'stop':
          // The worker takes this signal as a stop with a checkpoint.
          signal('SIGTERM');
          return Promise.resolve();
        case 'discard':
          killed = true;
          signal('SIGKILL');
          return Promise.resolve();
        default:
          return Promise.reject(
            new UserError(
              'run/not-attached',
              `cannot ${command} this run from here: it was started by another process`,
              'Use the window or terminal that started it, or stop it here and resume it.',
            ),
          );
      }
    },
    kill: (why) => {
      if (why === 'on-request') killed = true;
      signal('SIGKILL');
    },
    release: () => {
      released = true;
    },
  };
}

/** How a run without living worker ended, from what it committed. */
export function endOfLostRun(runDir: string, readers: RunReaders, killed = false): RunEnd {
  return classifyExit({
    process: null,
    said: readers.read(runDir, null, (reader) => reader.outcome()),
    killedByHost: killed ? 'on-request' : null,
    oomKillSeen: false,
    errorTail: '',
  });
}
