/**
 * One writer for each run directory.
 *
 * The lock is an open write transaction on an empty SQLite file beside `run.db`: the operating system drops it with the
 * process, however that ends, so there is no stale lock to judge. Who holds it is written in `run.db`.
 */
import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { checkNode, explained } from './open.ts';

/** A prober holds the lock for a moment; a writer waits that long before it believes in another writer. */
const WAIT_MS = 500;

/** The lock file that belongs to the run database `dbFile`. */
function lockFile(dbFile: string): string {
  return `${dbFile.replace(/\.db$/, '')}.lock`;
}

/** Takes the lock; returns its release, or null when another writer has it. */
export function takeRunLock(dbFile: string): (() => void) | null {
  checkNode();
  const file = lockFile(dbFile);
  return explained(file, 'lock file', () => {
    const db = new Database(file, { timeout: WAIT_MS });
    try {
      db.exec('BEGIN IMMEDIATE');
      return () => db.close();
    } catch (error) {
      db.close();
      if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) return null;
      throw error;
    }
  });
}

/** True while a process has the run database open for writing. */
export function isRunLocked(dbFile: string): boolean {
  if (!existsSync(lockFile(dbFile))) return false;
  const release = takeRunLock(dbFile);
  release?.();
  return release === null;
}
