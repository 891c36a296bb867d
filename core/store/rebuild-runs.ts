/** Finds runs again from their directories, when `app.db` was lost or a directory was copied in. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { RunId } from '#core/contract/ids.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import type { AppDb, RunRow } from './app-db.ts';
import { readRunSpec, runFiles } from './run-dir.ts';
import { isRunLocked } from './run-lock.ts';
import { openRunReader } from './run-reader.ts';

/** What `rebuildRuns` did: runs added, and a sentence for each directory it could not read. */
export interface Rebuilt {
  readonly added: RunId[];
  readonly problems: string[];
}

/** Adds a row for each run directory directly below `runsDir` that `db` does not know; known runs stay as they are. */
export function rebuildRuns(db: AppDb, runsDir: string): Rebuilt {
  const added: RunId[] = [];
  const problems: string[] = [];
  if (!existsSync(runsDir)) return { added, problems };
  for (const entry of readdirSync(runsDir, { withFileTypes: true })) {
    const dir = path.resolve(runsDir, entry.name);
    if (!entry.isDirectory() || !existsSync(runFiles(dir).spec) || db.runs.byDir(dir)) continue;
    try {
      const row = readRunRow(dir);
      if (db.runs.get(row.id)) {
        problems.push(
          `${dir}: another run is already known as ${row.id}; rename the folder to add this one.`,
        );
        continue;
      }
      db.runs.put(row);
      added.push(row.id);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      problems.push(error.message);
    }
  }
  return { added, problems };
}

/**
 * The row of the run in `dir`, from its files alone.
 * @throws UserError where `run.json` or `run.db` cannot be read.
 */
export function readRunRow(dir: string): RunRow {
  const files = runFiles(dir);
  const spec = readRunSpec(dir);
  const identity = {
    id: idOf(path.basename(dir)),
    name: spec.name,
    dir: path.resolve(dir),
    method: methodLabel(spec.method),
    modelName: path.basename(spec.model.path),
  };
  const specMs = statSync(files.spec).mtimeMs;
  if (!existsSync(files.db)) {
    return {
      ...identity,
      createdMs: specMs,
      state: 'stopped',
      reason: 'Found in its folder; it had not started.',
    };
  }
  const reader = openRunReader(files.db);
  try {
    const [first] = reader.series({ afterStep: Number.MAX_SAFE_INTEGER }).events;
    const createdMs = first?.wallMs ?? specMs;
    const outcome = reader.outcome();
    if (outcome) {
      return {
        ...identity,
        createdMs,
        state: outcome.exit,
        exit: outcome.exit,
        ...(outcome.error && { error: outcome.error }),
      };
    }
    if (isRunLocked(files.db)) return { ...identity, createdMs, state: 'running' };
    return {
      ...identity,
      createdMs,
      state: 'interrupted',
      exit: 'lost',
      reason: 'Found in its folder; its worker ended without saying how.',
    };
  } finally {
    reader.close();
  }
}

/** A folder name that is a run id, or the id made from it. */
function idOf(folder: string): RunId {
  if (RunId.safeParse(folder).success) return folder;
  return `run_${folder.replaceAll(/[^A-Za-z0-9_-]/g, '-').slice(0, 80)}`;
}
