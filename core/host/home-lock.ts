/** One queue for each data folder: a second host would start the same runs again. */
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { isProcessAlive } from '#core/process/process-alive.ts';

const REFRESH_MS = 3000;
/** Older than this, the number in the file may belong to another process by now. */
const STALE_MS = 15_000;

/**
 * Takes `home` for this process; returns its release.
 * @throws UserError `home/in-use` naming the process that has it.
 */
export function lockHome(home: string): () => void {
  const file = path.join(home, 'host.pid');
  if (!create(file)) {
    const holder = holderOf(file);
    if (holder !== undefined) {
      throw new UserError(
        'home/in-use',
        `${home}: Condenser already runs with this data folder (process ${holder})`,
        'Use that window, close it, or choose another folder with --home.',
      );
    }
    rmSync(file, { force: true });
    if (!create(file)) return lockHome(home);
  }
  const timer = setInterval(() => {
    // A data folder that was moved away while the host runs has nothing left to protect.
    if (existsSync(file)) utimesSync(file, new Date(), new Date());
  }, REFRESH_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    rmSync(file, { force: true });
  };
}

/** Writes the file unless it exists. */
function create(file: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'wx');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
  writeSync(descriptor, String(process.pid));
  closeSync(descriptor);
  return true;
}

/** The living process that has the folder. */
function holderOf(file: string): number | undefined {
  const holder = Number(readFileSync(file, 'utf8'));
  const fresh = Date.now() - statSync(file).mtimeMs < STALE_MS;
  return fresh && Number.isInteger(holder) && holder > 0 && isProcessAlive(holder) ? holder : undefined;
}
