/** Tells whether the process that writes a run still lives (WP8). */
import { readFileSync } from 'node:fs';
import { Heartbeat } from '#core/contract/worker-protocol.ts';
import { isProcessAlive } from '#core/process/process-alive.ts';
import { isRunLocked, runFiles } from '#core/store/index.ts';

/** A heartbeat younger than this means alive, however long a step takes; it is written each second. */
const FRESH_MS = 5000;

/** The last heartbeat in the run directory, or undefined when there is none. */
export function readHeartbeat(runDir: string): Heartbeat | undefined {
  let text: string;
  try {
    text = readFileSync(runFiles(runDir).heartbeat, 'utf8');
  } catch {
    return undefined; // The run has not started yet, or was copied without it.
  }
  const parsed = Heartbeat.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : undefined;
}

/** True while a worker writes the run in `runDir`. */
export function isRunAlive(runDir: string, nowMs: number): boolean {
  const heartbeat = readHeartbeat(runDir);
  if (heartbeat && nowMs - heartbeat.wallMs < FRESH_MS && isProcessAlive(heartbeat.pid)) return true;
  // An old number may have been given to another process; the lock on the database cannot lie, but finding it taken
  // costs half a second.
  return isRunLocked(runFiles(runDir).db);
}
