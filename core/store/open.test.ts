import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { checkNode, openReadable, openWritable, type StoreKind } from './open.ts';
import { runStore } from './run-store.ts';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'open-'));
  file = path.join(dir, 'a.db');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const refused = (code: string, part: string) =>
  new RegExp(`^${code} .*${part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}`);
const kind = (...sql: string[]): StoreKind => ({
  title: 'test database',
  applicationId: 77,
  migrations: sql.map((text, i) => ({ version: i + 1, sql: text })),
});
/** Code and message of the UserError that `work` throws; nothing when it does not. */
function refusalOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof UserError) return `${error.code} ${error.message}`;
    throw error;
  }
  return '';
}

test('the settings are those of the design', () => {
  const store = openWritable(file, kind('CREATE TABLE t(a INTEGER) STRICT'));
  const pragma = (name: string) => store.use((db) => db.pragma(name, { simple: true }));
  expect(
    ['page_size', 'journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout', 'user_version'].map(pragma),
  ).toEqual([8192, 'wal', 1, 1, 5000, 1]);
  store.close();
});

test('a file of a newer program is refused, unchanged', () => {
  openWritable(file, kind('CREATE TABLE t(a)', 'CREATE TABLE u(a)')).close();
  const older = kind('CREATE TABLE t(a)');
  for (const open of [openWritable, openReadable]) {
    expect(refusalOf(() => open(file, older))).toMatch(
      refused('store/newer-version', 'has schema 2; this program knows schemas up to 1'),
    );
  }
  openWritable(file, kind('CREATE TABLE t(a)', 'CREATE TABLE u(a)')).close();
});

test('a reader migrates an older file first', () => {
  openWritable(file, kind('CREATE TABLE t(a)')).close();
  const store = openReadable(file, kind('CREATE TABLE t(a)', 'ALTER TABLE t ADD COLUMN b'));
  expect(store.use((db) => db.prepare('SELECT a, b FROM t').all())).toEqual([]);
  expect(refusalOf(() => store.use((db) => db.exec('INSERT INTO t VALUES (1, 2)')))).toMatch(
    refused('store/no-access', file),
  );
  store.close();
});

test('a failed migration leaves the file as it was', () => {
  openWritable(file, kind('CREATE TABLE t(a)')).close();
  expect(() => openWritable(file, kind('CREATE TABLE t(a)', 'CREATE TABLE u(a); SELECT nonsense'))).toThrow(
    'nonsense',
  );
  const store = openWritable(file, kind('CREATE TABLE t(a)'));
  expect(store.use((db) => db.prepare("SELECT name FROM sqlite_master WHERE name = 'u'").all())).toEqual([]);
  store.close();
});

test("damaged, empty, missing and other programs' files are told apart", () => {
  const one = kind('CREATE TABLE t(a)');
  expect(refusalOf(() => openReadable(file, one))).toMatch(refused('store/missing', file));
  writeFileSync(file, 'this is no database at all, and long enough to be read as a header'.repeat(20));
  expect(refusalOf(() => openWritable(file, one))).toMatch(refused('store/damaged', file));
  rmSync(file);
  writeFileSync(file, '');
  expect(refusalOf(() => openReadable(file, one))).toMatch(refused('store/empty', file));
  const other = path.join(dir, 'other.db');
  new Database(other).exec('CREATE TABLE theirs(a)').close();
  expect(refusalOf(() => openWritable(other, one))).toMatch(
    refused('store/other-file', 'not a test database'),
  );
  expect(() => openWritable(file, one).close()).not.toThrow();
  expect(refusalOf(() => openReadable(file, runStore))).toMatch(
    refused('store/other-file', 'not a run database'),
  );
  expect(refusalOf(() => openWritable(path.join(dir, 'none', 'a.db'), one))).toMatch(
    refused('store/no-access', 'folder does not exist'),
  );
  expect(refusalOf(() => openWritable(dir, one))).toMatch(refused('store/no-access', dir));
});

test('a database whose tables are made while it is opened is not taken for another file', () => {
  const one = kind('CREATE TABLE t(a)');
  // As far as a writer comes before its first migration.
  new Database(file).exec('PRAGMA journal_mode = WAL').close();
  // oxlint-disable-next-line typescript/unbound-method -- called with the database as `this` below
  const { pragma } = Database.prototype;
  let created = false;
  const spy = vi.spyOn(Database.prototype, 'pragma').mockImplementation(function (
    this: Database.Database,
    source,
    options,
  ) {
    const value = pragma.call(this, source, options);
    if (source === 'application_id' && !created) {
      created = true;
      openWritable(file, one).close();
    }
    return value;
  });
  try {
    expect(() => openReadable(file, one).close()).not.toThrow();
    expect(created).toBe(true);
  } finally {
    spy.mockRestore();
  }
});

test('damage inside a file is named when it is met', () => {
  const one = kind('CREATE TABLE t(a)');
  const store = openWritable(file, one);
  store.use((db) => {
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    for (let i = 0; i < 2000; i++) insert.run('x'.repeat(100));
  });
  store.close();
  const fd = openSync(file, 'r+');
  writeSync(fd, new Uint8Array(8192 * 10).fill(0x55), 0, 8192 * 10, 8192);
  closeSync(fd);
  const damaged = openReadable(file, one);
  expect(refusalOf(() => damaged.use((db) => db.prepare('SELECT sum(length(a)) FROM t').get()))).toMatch(
    refused('store/damaged', file),
  );
  damaged.close();
});

test('a Node too old for the binding is refused before it can crash', () => {
  expect(refusalOf(() => checkNode({ node: '20.19.0', napi: '9' }))).toMatch(
    refused('store/old-node', 'Node 20.19.0'),
  );
  expect(() => checkNode()).not.toThrow();
});
