/** Open run databases, so that a list of many runs does not open and close each of them at every look. */
import { UserError } from '#core/contract/errors.ts';
import { openRunReader, runFiles, type RunReader } from '#core/store/index.ts';

const MOST_OPEN = 16;

/** Reads run directories. */
export interface RunReaders {
  /** What `read` finds in the run's database; `fallback` where its worker has not written anything yet. */
  read<T>(runDir: string, fallback: T, read: (reader: RunReader) => T): T;
  /** Closes the run's database, for instance before its folder is removed. */
  forget(runDir: string): void;
  close(): void;
}

/** Keeps the databases used last open. */
export function createRunReaders(): RunReaders {
  // A Map keeps insertion order: the first one is the one used longest ago.
  const open = new Map<string, RunReader>();

  const forget = (runDir: string): void => {
    open.get(runDir)?.close();
    open.delete(runDir);
  };

  const readerOf = (runDir: string): RunReader | undefined => {
    const known = open.get(runDir);
    if (known) {
      open.delete(runDir);
      open.set(runDir, known);
      return known;
    }
    try {
      const reader = openRunReader(runFiles(runDir).db);
      open.set(runDir, reader);
      const [oldest] = open.keys();
      if (open.size > MOST_OPEN && oldest !== undefined) forget(oldest);
      return reader;
    } catch (error) {
      if (error instanceof UserError && (error.code === 'store/missing' || error.code === 'store/empty')) {
        return undefined;
      }
      throw error;
    }
  };

  return {
    read: (runDir, fallback, read) => {
      const reader = readerOf(runDir);
      return reader === undefined ? fallback : read(reader);
    },
    forget,
    close: () => {
      for (const runDir of open.keys()) forget(runDir);
    },
  };
}
