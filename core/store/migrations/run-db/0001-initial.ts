/**
 * What a run measures. Blob tables keep their rowid: without it, payloads above about 1 kB spill to overflow pages.
 * `usage.encoding`: 1 = counts as u16, 2 = counts as u32; all blobs little-endian, layer-major.
 * Evaluations carry the event that announced them, so that a reader's event mark covers them: one may be committed
 * after its step was already read.
 */
export const initial = {
  version: 1,
  sql: `
    CREATE TABLE facts(
      id INTEGER PRIMARY KEY CHECK (id = 1),
      document TEXT NOT NULL
    ) STRICT;
    CREATE TABLE step(
      step INTEGER PRIMARY KEY,
      wall_ms REAL NOT NULL,
      loss REAL NOT NULL,
      learning_rate REAL NOT NULL,
      grad_norm REAL NOT NULL,
      tokens INTEGER NOT NULL,
      trained_tokens INTEGER NOT NULL,
      tokens_per_second REAL NOT NULL,
      rss_mb REAL NOT NULL,
      aux_loss REAL
    ) STRICT;
    CREATE TABLE usage(
      step INTEGER PRIMARY KEY REFERENCES step(step) ON DELETE CASCADE,
      encoding INTEGER NOT NULL,
      counts BLOB NOT NULL,
      mass BLOB,
      bias BLOB,
      condensers BLOB
    ) STRICT;
    CREATE TABLE event(
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      step INTEGER NOT NULL,
      wall_ms REAL NOT NULL,
      kind TEXT NOT NULL,
      message TEXT NOT NULL
    ) STRICT;
    CREATE TABLE evaluation(
      step INTEGER PRIMARY KEY,
      loss REAL NOT NULL,
      trained_tokens INTEGER NOT NULL,
      event_id INTEGER NOT NULL REFERENCES event(id)
    ) STRICT;
    CREATE TABLE checkpoint(
      step INTEGER PRIMARY KEY,
      path TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      wall_ms REAL NOT NULL
    ) STRICT;
    CREATE TABLE writer(
      id INTEGER PRIMARY KEY CHECK (id = 1),
      pid INTEGER NOT NULL,
      opened_ms REAL NOT NULL
    ) STRICT;
    CREATE TABLE outcome(
      id INTEGER PRIMARY KEY CHECK (id = 1),
      exit TEXT NOT NULL,
      error TEXT
    ) STRICT;
  `,
} as const;
