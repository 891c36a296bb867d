/** Folders for what a process keeps while it works, among the temporary files of the system. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { isProcessAlive } from './process-alive.ts';

/** How the names of all such folders begin; a number tells of a process on one machine, or in one container, only. */
const PREFIX = `condenser-${hostname()}-`;

/**
 * Makes an empty folder; whoever asked for it removes it. A process that is killed cannot, so what such processes left is removed first.
 * @param purpose what it is for, as a part of its name.
 */
export function makeTemporaryFolder(purpose: string): string {
  removeAbandoned();
  return mkdtempSync(path.join(tmpdir(), `${PREFIX}${process.pid}-${purpose}-`));
}

/** Hands an empty folder to `work`, and removes it when that has ended. @param purpose as of `makeTemporaryFolder`. */
export async function withTemporaryFolder<T>(
  purpose: string,
  work: (folder: string) => T | Promise<T>,
): Promise<T> {
  const folder = makeTemporaryFolder(purpose);
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : NaN;
    if (Number.isNaN(pid) || isProcessAlive(pid)) continue;
    const folder = path.join(tmpdir(), name);
    // Another process may be removing it too, and that of another user is not ours to remove.
    const owner = statSync(folder, { throwIfNoEntry: false })?.uid;
    if (owner === (process.getuid?.() ?? owner)) rmSync(folder, { recursive: true, force: true });
  }
}
