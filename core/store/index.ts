/** Everything that is remembered on disk in SQLite; nothing outside this folder imports the database library. */
export { type AppDb, type Collection, newId, openAppDb, RunRow } from './app-db.ts';
export { readRunRow, type Rebuilt, rebuildRuns } from './rebuild-runs.ts';
export {
  readAudit,
  readExports,
  readScores,
  readRunSpec,
  runFiles,
  writeAudit,
  writeExport,
  writeScores,
  writeRunSpec,
} from './run-dir.ts';
export { sqliteVersion } from './open.ts';
export { isRunLocked } from './run-lock.ts';
export { openRunReader, type RunOutcome, type RunReader, type RunTotals } from './run-reader.ts';
export { openRunWriter, type RecordedExit, type RunWriter } from './run-writer.ts';
