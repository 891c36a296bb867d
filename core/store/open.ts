/**
 * Opens SQLite files with the project's settings and turns what SQLite refuses into errors a person can act on.
 *
 * WAL with `synchronous = NORMAL`: a committed transaction survives the death of the process (kill -9) at once. A power
 * loss or a crash of the operating system can lose the transactions since the last WAL checkpoint (at most about 1,000
 * pages), but leaves a consistent file.
 */
import { existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { invariant, UserError } from '#core/contract/errors.ts';
import type { Migration } from './migrations/migration.ts';

/** What a file is: stored in its header, so that another program's database is not mistaken for ours. */
export interface StoreKind {
  /** What messages call it, e.g. "run database". */
  readonly title: string;
  /** `PRAGMA application_id`, a positive 31-bit integer. */
  readonly applicationId: number;
  readonly migrations: readonly Migration[];
}

/** An open database: every access goes through `use`, which names the file in what goes wrong. */
export interface Store {
  readonly file: string;
  use<T>(work: (db: Database.Database) => T): T;
  close(): void;
}

/** Oldest Node-API level that the SQLite binding runs on; an older Node crashes without a message. */
const OLDEST_NAPI = 10;
/** How long a statement waits for another connection's lock. */
const BUSY_TIMEOUT_MS = 5000;
/** A write that failed with less than this much free space failed for want of space. */
const FULL_BELOW_BYTES = 256 * 1024;

/**
 * Refuses a Node that the SQLite binding would crash.
 * @throws UserError `store/old-node`
 */
export function checkNode(versions: Readonly<Record<string, string | undefined>> = process.versions): void {
  if (Number(versions['napi'] ?? 0) < OLDEST_NAPI) {
    throw new UserError(
      'store/old-node',
      `Node ${versions['node'] ?? 'of unknown version'} is too old for the database library, which needs Node 22.14 or newer`,
      'Install Node 24, or start the program with the Node that comes with it (npm run).',
    );
  }
}

/** Version of SQLite itself, not of the package that binds it. @throws UserError `store/old-node` */
export function sqliteVersion(): string {
  checkNode();
  const db = new Database(':memory:');
  try {
    return String(db.prepare('SELECT sqlite_version()').pluck().get());
  } finally {
    db.close();
  }
}

/**
 * Opens `file` for reading and writing, creating it (its folder must exist) and migrating it to the newest schema.
 * @throws UserError `store/*`: damaged, newer than this program, another program's file, no access, disk full.
 */
export function openWritable(file: string, kind: StoreKind): Store {
  return openStore(file, kind, false);
}

/**
 * Opens an existing `file` for reading. A file with an older schema is migrated first.
 * @throws UserError `store/missing`, `store/empty` (nothing committed yet) and those of `openWritable`.
 */
export function openReadable(file: string, kind: StoreKind): Store {
  if (!existsSync(file)) {
    throw new UserError(
      'store/missing',
      `${file}: there is no such ${kind.title}`,
      'The run has not started writing yet, or its folder was moved.',
    );
  }
  const store = openStore(file, kind, true);
  const version = store.use(schemaVersion);
  if (version === 0) {
    store.close();
    throw new UserError(
      'store/empty',
      `${file}: the ${kind.title} holds nothing yet`,
      'Try again once the run has started.',
    );
  }
  if (version === kind.migrations.length) return store;
  store.close();
  openWritable(file, kind).close();
  return openStore(file, kind, true);
}

function openStore(file: string, kind: StoreKind, readonly: boolean): Store {
  checkNode();
  if (!existsSync(path.dirname(file))) {
    throw new UserError(
      'store/no-access',
      `${file}: the folder does not exist`,
      'Create the folder or choose another.',
    );
  }
  const db = explained(file, kind.title, () => new Database(file, { readonly, timeout: BUSY_TIMEOUT_MS }));
  const store: Store = {
    file,
    use: (work) => explained(file, kind.title, () => work(db)),
    close: () => explained(file, kind.title, () => db.close()),
  };
  try {
    store.use(() => {
      if (!readonly) {
        db.pragma('page_size = 8192');
        db.pragma('journal_mode = WAL');
        db.pragma('synchronous = NORMAL');
      }
      db.pragma('foreign_keys = ON');
      checkHeader(db, file, kind);
      if (!readonly) migrate(db, kind);
    });
  } catch (error) {
    db.close();
    throw error;
  }
  return store;
}

function schemaVersion(db: Database.Database): number {
  return Number(db.pragma('user_version', { simple: true }));
}

function checkHeader(db: Database.Database, file: string, kind: StoreKind): void {
  // One read transaction: between two statements another process may create the tables, and half of each state looks
  // like another program's file.
  const readHeader = db.transaction(() => ({
    version: schemaVersion(db),
    applicationId: Number(db.pragma('application_id', { simple: true })),
    tables: Number(db.prepare<[], number>('SELECT count(*) FROM sqlite_master').pluck().get()),
  }));
  const { version, applicationId, tables } = readHeader.deferred();
  if (applicationId !== kind.applicationId && (applicationId !== 0 || version !== 0 || tables !== 0)) {
    throw new UserError(
      'store/other-file',
      `${file}: this is a database, but not a ${kind.title} of this program`,
      'Choose the file that the program wrote.',
    );
  }
  if (version > kind.migrations.length) {
    throw new UserError(
      'store/newer-version',
      `${file}: the ${kind.title} has schema ${version}; this program knows schemas up to ${kind.migrations.length}`,
      'A newer version of the program wrote it. Update the program, or use the newer one.',
    );
  }
}

/** Applies the missing migrations, each in one transaction with its version number. */
function migrate(db: Database.Database, kind: StoreKind): void {
  kind.migrations.forEach((migration, i) => {
    invariant(
      migration.version === i + 1,
      `${kind.title}: migration ${i + 1} has version ${migration.version}`,
    );
  });
  const apply = db.transaction((migration: Migration) => {
    // Another process may have migrated the file while this one waited for the lock.
    if (schemaVersion(db) >= migration.version) return;
    db.exec(migration.sql);
    db.pragma(`application_id = ${kind.applicationId}`);
    db.pragma(`user_version = ${migration.version}`);
  });
  for (const migration of kind.migrations) {
    if (schemaVersion(db) < migration.version) apply.immediate(migration);
  }
}

/**
 * Runs `work` on `file`, which messages call `title`; an error of SQLite that a person can do something about becomes a
 * UserError.
 */
export function explained<T>(file: string, title: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Database.SqliteError) throw explain(error, file, title);
    throw error;
  }
}

function explain(error: InstanceType<typeof Database.SqliteError>, file: string, title: string): Error {
  const { code } = error;
  const is = (...prefixes: string[]) =>
    prefixes.some((prefix) => code === prefix || code.startsWith(`${prefix}_`));
  if (is('SQLITE_FULL') || (is('SQLITE_IOERR', 'SQLITE_CANTOPEN') && diskIsFull(file))) {
    return new UserError(
      'store/disk-full',
      `${file}: no space left on the disk; what was committed before is kept`,
      'Free some space, then resume.',
      { cause: error },
    );
  }
  if (is('SQLITE_CORRUPT', 'SQLITE_NOTADB')) {
    return new UserError(
      'store/damaged',
      `${file}: the ${title} is damaged (${error.message})`,
      'Restore the file from a copy, or move it away: a new one is made.',
      { cause: error },
    );
  }
  if (is('SQLITE_CANTOPEN', 'SQLITE_READONLY', 'SQLITE_PERM', 'SQLITE_AUTH')) {
    return new UserError(
      'store/no-access',
      `${file}: the ${title} cannot be opened for this use (${error.message})`,
      'Check that the file is not a folder and that you may read and write it and its folder.',
      { cause: error },
    );
  }
  if (is('SQLITE_BUSY', 'SQLITE_LOCKED')) {
    return new UserError(
      'store/busy',
      `${file}: another process has held the ${title} for more than ${BUSY_TIMEOUT_MS / 1000} s`,
      'Close other programs that use this file, then try again.',
      { cause: error },
    );
  }
  if (is('SQLITE_IOERR')) {
    return new UserError(
      'store/io-error',
      `${file}: the disk refused to read or write the ${title} (${code})`,
      'Check that the disk is connected and healthy.',
      { cause: error },
    );
  }
  return error;
}

function diskIsFull(file: string): boolean {
  const { bavail, bsize } = statfsSync(path.dirname(file));
  return bavail * bsize < FULL_BELOW_BYTES;
}
