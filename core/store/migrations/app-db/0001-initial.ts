/** Models, data sets, runs, settings and registered paths. Documents are JSON; what is queried has a column. */
export const initial = {
  version: 1,
  sql: `
    CREATE TABLE model(
      id TEXT PRIMARY KEY,
      added_ms REAL NOT NULL,
      entry TEXT NOT NULL
    ) STRICT;
    CREATE TABLE dataset(
      id TEXT PRIMARY KEY,
      added_ms REAL NOT NULL,
      entry TEXT NOT NULL
    ) STRICT;
    CREATE TABLE run(
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL,
      state TEXT NOT NULL,
      dir TEXT NOT NULL UNIQUE,
      created_ms REAL NOT NULL,
      method TEXT NOT NULL,
      model_name TEXT NOT NULL,
      exit TEXT,
      error TEXT,
      reason TEXT
    ) STRICT;
    CREATE TABLE setting(
      id INTEGER PRIMARY KEY CHECK (id = 1),
      document TEXT NOT NULL
    ) STRICT;
    CREATE TABLE file_handle(
      handle TEXT PRIMARY KEY,
      path TEXT NOT NULL UNIQUE
    ) STRICT;
  `,
} as const;
