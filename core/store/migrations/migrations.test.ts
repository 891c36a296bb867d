/**
 * One entry for each migration: rows as the schema before it held them, and what they must be after it. A migration
 * without an entry fails the first test.
 */
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { appMigrations } from './app-db/index.ts';
import type { Migration } from './migration.ts';
import { runMigrations } from './run-db/index.ts';

interface Case {
  readonly version: number;
  /** Run on the schema of `version − 1`. */
  readonly before: string;
  /** Query → rows on the schema of `version`. */
  readonly after: Readonly<Record<string, unknown>>;
}

const cases: Record<string, { migrations: readonly Migration[]; cases: readonly Case[] }> = {
  'app-db': {
    migrations: appMigrations,
    cases: [
      {
        version: 1,
        before: '',
        after: {
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name": [
            { name: 'dataset' },
            { name: 'file_handle' },
            { name: 'model' },
            { name: 'run' },
            { name: 'setting' },
          ],
        },
      },
    ],
  },
  'run-db': {
    migrations: runMigrations,
    cases: [
      {
        version: 1,
        before: '',
        after: {
          "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name": [
            { name: 'checkpoint' },
            { name: 'evaluation' },
            { name: 'event' },
            { name: 'facts' },
            { name: 'outcome' },
            { name: 'step' },
            { name: 'usage' },
            { name: 'writer' },
          ],
        },
      },
      {
        version: 2,
        before: `
          INSERT INTO step VALUES (1, 0, 2, 0.1, 1, 8, 8, 4, 100, NULL);
          INSERT INTO usage VALUES (1, 1, x'0100', x'0000803f', NULL, NULL);
        `,
        after: {
          'SELECT step, hex(counts) AS counts, hex(mass) AS mass, soft, grad_norm FROM usage': [
            { step: 1, counts: '0100', mass: '0000803F', soft: null, grad_norm: null },
          ],
        },
      },
      {
        version: 3,
        before: 'INSERT INTO step VALUES (1, 0, 2, 0.1, 1, 8, 8, 4, 100, NULL);',
        after: { 'SELECT step, rss_mb, device_mb FROM step': [{ step: 1, rss_mb: 100, device_mb: null }] },
      },
      {
        version: 4,
        before: `
          INSERT INTO event VALUES (1, 3, 0, 'evaluation', '');
          INSERT INTO evaluation VALUES (3, 1.5, 40, 1);
        `,
        after: {
          'SELECT step, loss, general_loss, general_tokens FROM evaluation': [
            { step: 3, loss: 1.5, general_loss: null, general_tokens: null },
          ],
        },
      },
    ],
  },
};

for (const [name, { migrations, cases: list }] of Object.entries(cases)) {
  test(`${name}: every migration has a case and the next number`, () => {
    expect(migrations.map((migration) => migration.version)).toEqual(migrations.map((_, i) => i + 1));
    expect(list.map((entry) => entry.version)).toEqual(migrations.map((migration) => migration.version));
  });

  for (const { version, before, after } of list) {
    test(`${name}: migration ${version} carries the rows of schema ${version - 1} over`, () => {
      const db = new Database(':memory:');
      for (const migration of migrations.slice(0, version - 1)) db.exec(migration.sql);
      db.exec(before);
      db.exec(migrations[version - 1]?.sql ?? '');
      for (const [query, rows] of Object.entries(after)) expect(db.prepare(query).all()).toEqual(rows);
      db.close();
    });
  }
}
