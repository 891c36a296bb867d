/** `app.db`: what the host knows of models, data sets and runs. The host is its only writer. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { DatasetEntry } from '#core/contract/dataset.ts';
import { FileHandle, RunId } from '#core/contract/ids.ts';
import { ModelEntry } from '#core/contract/model.ts';
import { ErrorInfoSchema } from '#core/contract/result.ts';
import { RunState, WorkerExit } from '#core/contract/run-state.ts';
import { defaultSettings, Settings } from '#core/contract/settings.ts';
import { appMigrations } from './migrations/app-db/index.ts';
import { openWritable, type Store, type StoreKind } from './open.ts';
import { parseRow } from './run-reader.ts';

const appStore: StoreKind = {
  title: 'application database',
  applicationId: 0x43444131,
  migrations: appMigrations,
};

/** What the host keeps of a run; the specification and all measurements are in its directory. */
export const RunRow = z.object({
  id: RunId,
  name: z.string(),
  state: RunState,
  /** Absolute path of the run directory. */
  dir: z.string(),
  createdMs: z.number(),
  method: z.string(),
  modelName: z.string(),
  exit: WorkerExit.optional(),
  error: ErrorInfoSchema.optional(),
  /** Why the run is in its state, where there is more to say than the state's name. */
  reason: z.string().optional(),
});
export type RunRow = z.infer<typeof RunRow>;

/** Documents by id, oldest first. */
export interface Collection<T extends { readonly id: string }> {
  list(): T[];
  get(id: T['id']): T | undefined;
  /** Adds the entry or replaces the one with its id. */
  put(entry: T): void;
  /** False when there was none. */
  remove(id: T['id']): boolean;
}

/** The database of a data folder; the host is its only writer. */
export interface AppDb {
  readonly models: Collection<ModelEntry>;
  readonly datasets: Collection<DatasetEntry>;
  readonly runs: Collection<RunRow> & { byDir(dir: string): RunRow | undefined };
  readonly settings: { get(): Settings; set(settings: Settings): void };
  readonly files: {
    /** The handle of `path`; the same path always has the same one. */
    register(path: string): FileHandle;
    /** The path behind `handle`, or undefined when the host never gave it out. */
    pathOf(handle: FileHandle): string | undefined;
  };
  close(): void;
}

/** Makes an identifier nobody can guess or meet twice: prefix and 96 random bits. */
export function newId(prefix: 'run' | 'model' | 'data' | 'file'): string {
  return `${prefix}_${randomBytes(12).toString('base64url')}`;
}

/**
 * Opens `file`, creating it when missing.
 * @throws UserError `store/*`, see `openWritable`.
 */
export function openAppDb(file: string): AppDb {
  const store = openWritable(file, appStore);
  return {
    models: documents(store, 'model', ModelEntry),
    datasets: documents(store, 'dataset', DatasetEntry),
    runs: runs(store),
    settings: settings(store),
    files: files(store),
    close: () => store.close(),
  };
}

/** A table of JSON documents with their id and the time they were added. */
function documents<T extends { readonly id: string; readonly addedMs: number }>(
  store: Store,
  table: 'model' | 'dataset',
  schema: z.ZodType<T>,
): Collection<T> {
  const sql = store.use((db) => ({
    list: db.prepare<[], string>(`SELECT entry FROM ${table} ORDER BY added_ms, id`).pluck(),
    get: db.prepare<[string], string>(`SELECT entry FROM ${table} WHERE id = ?`).pluck(),
    put: db.prepare(`INSERT OR REPLACE INTO ${table}(id, added_ms, entry) VALUES (?, ?, ?)`),
    remove: db.prepare(`DELETE FROM ${table} WHERE id = ?`),
  }));
  const parse = (entry: string): T => parseRow(store.file, schema, JSON.parse(entry), table);
  return {
    list: () => store.use(() => sql.list.all()).map(parse),
    get: (id) => {
      const entry = store.use(() => sql.get.get(id));
      return entry === undefined ? undefined : parse(entry);
    },
    put: (entry) => void store.use(() => sql.put.run(entry.id, entry.addedMs, JSON.stringify(entry))),
    remove: (id) => store.use(() => sql.remove.run(id)).changes > 0,
  };
}

interface RunColumns {
  readonly exit: string | null;
  readonly error: string | null;
  readonly reason: string | null;
}

function runs(store: Store): AppDb['runs'] {
  const columns =
    'id, name, state, dir, created_ms AS createdMs, method, model_name AS modelName, exit, error, reason';
  const sql = store.use((db) => ({
    list: db.prepare<[], RunColumns>(`SELECT ${columns} FROM run ORDER BY created_ms, id`),
    get: db.prepare<[string], RunColumns>(`SELECT ${columns} FROM run WHERE id = ?`),
    byDir: db.prepare<[string], RunColumns>(`SELECT ${columns} FROM run WHERE dir = ?`),
    put: db.prepare(
      `INSERT INTO run(id, name, state, dir, created_ms, method, model_name, exit, error, reason)
       VALUES (@id, @name, @state, @dir, @createdMs, @method, @modelName, @exit, @error, @reason)
       ON CONFLICT(id) DO UPDATE SET name = excluded.name, state = excluded.state, dir = excluded.dir,
         created_ms = excluded.created_ms, method = excluded.method, model_name = excluded.model_name,
         exit = excluded.exit, error = excluded.error, reason = excluded.reason`,
    ),
    remove: db.prepare('DELETE FROM run WHERE id = ?'),
  }));
  const parse = ({ exit, error, reason, ...rest }: RunColumns): RunRow =>
    parseRow(
      store.file,
      RunRow,
      {
        ...rest,
        ...(exit !== null && { exit }),
        ...(error !== null && { error: JSON.parse(error) as unknown }),
        ...(reason !== null && { reason }),
      },
      'run',
    );
  const one = (row: RunColumns | undefined) => (row === undefined ? undefined : parse(row));
  return {
    list: () => store.use(() => sql.list.all()).map(parse),
    get: (id) => one(store.use(() => sql.get.get(id))),
    byDir: (dir) => one(store.use(() => sql.byDir.get(dir))),
    put: (row) =>
      void store.use(() =>
        sql.put.run({
          ...row,
          exit: row.exit ?? null,
          error: row.error === undefined ? null : JSON.stringify(row.error),
          reason: row.reason ?? null,
        }),
      ),
    remove: (id) => store.use(() => sql.remove.run(id)).changes > 0,
  };
}

function settings(store: Store): AppDb['settings'] {
  const sql = store.use((db) => ({
    get: db.prepare<[], string>('SELECT document FROM setting').pluck(),
    set: db.prepare('INSERT OR REPLACE INTO setting(id, document) VALUES (1, ?)'),
  }));
  return {
    get: () => {
      const document = store.use(() => sql.get.get());
      if (document === undefined) return defaultSettings;
      // A document of an older version lacks the settings that came later.
      const saved = JSON.parse(document) as object;
      return parseRow(store.file, Settings, { ...defaultSettings, ...saved }, 'settings');
    },
    set: (value) => void store.use(() => sql.set.run(JSON.stringify(value))),
  };
}

function files(store: Store): AppDb['files'] {
  const sql = store.use((db) => ({
    add: db.prepare('INSERT OR IGNORE INTO file_handle(handle, path) VALUES (?, ?)'),
    handle: db.prepare<[string], string>('SELECT handle FROM file_handle WHERE path = ?').pluck(),
    path: db.prepare<[string], string>('SELECT path FROM file_handle WHERE handle = ?').pluck(),
  }));
  return {
    register: (path) =>
      store.use(() => {
        sql.add.run(newId('file'), path);
        return parseRow(store.file, FileHandle, sql.handle.get(path), 'file handle');
      }),
    pathOf: (handle) => store.use(() => sql.path.get(handle)),
  };
}
