/** Runs and specifications by what a person types. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { RunId } from '#core/contract/ids.ts';
import { parseRunSpec, type RunSpec } from '#core/contract/run-spec.ts';
import { resolveSpecPaths } from '#core/host/index.ts';
import type { RunData } from '#core/report/index.ts';
import {
  openAppDb,
  openRunReader,
  readAudit,
  readRunRow,
  readRunSpec,
  readScores,
  runFiles,
} from '#core/store/index.ts';
import { dataFolder } from '../host-ports.ts';

/** True for a folder with the specification of a run. */
export function isRunFolder(folder: string): boolean {
  return existsSync(runFiles(folder).spec);
}

/**
 * The directory of the run that `name` stands for: a run directory, or a run id of the data folder.
 * @throws UserError `run/not-found`.
 */
export function findRun(name: string, home: string | undefined): string {
  if (isRunFolder(name)) return path.resolve(name);
  const folder = path.resolve(home ?? dataFolder());
  if (RunId.safeParse(name).success) {
    const own = path.join(folder, 'runs', name);
    if (isRunFolder(own)) return own;
    const listed = listedRun(folder, name);
    if (listed !== undefined) return listed;
  }
  throw new UserError(
    'run/not-found',
    `${name} is neither a run directory nor a run of ${folder}`,
    'A run directory holds run.json; runs in the data folder are called run_….',
  );
}

/** A run whose directory lies elsewhere. */
function listedRun(folder: string, id: string): string | undefined {
  const file = path.join(folder, 'app.db');
  if (!existsSync(file)) return undefined;
  const db = openAppDb(file);
  try {
    return db.runs.get(id)?.dir;
  } finally {
    db.close();
  }
}

/** The document in a JSON file. @throws UserError `run-spec/unreadable`. */
export function readDocument(file: string): unknown {
  const fail = (what: string, cause?: unknown) =>
    new UserError('run-spec/unreadable', `${file}: ${what}`, 'Give a RUN.json; docs/cli.md shows one.', {
      cause,
    });
  if (!existsSync(file)) throw fail('there is no such file');
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw fail(
      `not a readable JSON document (${error instanceof Error ? error.message : String(error)})`,
      error,
    );
  }
}

/**
 * Reads RUN.json, or the specification of a run directory, with absolute paths.
 * @param steps takes the place of what it says, where given.
 * @throws UserError `run-spec/unreadable`, and those of `parseRunSpec`.
 */
export function readSpec(file: string, steps: number | undefined): RunSpec {
  const found = existsSync(file) && statSync(file).isDirectory() ? runFiles(file).spec : file;
  const document = readDocument(found);
  const spec = resolveSpecPaths(parseRunSpec(document, found), path.dirname(path.resolve(found)));
  return steps === undefined ? spec : withSteps(spec, steps);
}

function withSteps(spec: RunSpec, steps: number): RunSpec {
  const train = { ...spec.train, steps };
  delete train.epochs;
  return { ...spec, train };
}

/** Routing records a report or comparison reads of a run. */
const ROUTING_LIMIT = 2000;

/** Everything that was measured of the run in `runDir`. @throws UserError where its files cannot be read. */
export function readRun(runDir: string): RunData {
  const spec = readRunSpec(runDir);
  const {
    id,
    name,
    state,
    method,
    modelName,
    createdMs,
    error,
    reason = error?.message,
  } = readRunRow(runDir);
  const row = { id, name, state, method, modelName, createdMs, ...(reason !== undefined && { reason }) };
  const summary = { ...row, lastStep: 0 };
  const { db } = runFiles(runDir);
  if (!existsSync(db)) {
    return {
      summary,
      spec,
      facts: null,
      series: { steps: [], evaluations: [], events: [] },
      routing: [],
      checkpoints: [],
      scores: [],
    };
  }
  const audit = readAudit(runDir);
  const reader = openRunReader(db);
  try {
    const facts = reader.facts();
    const { lastLoss } = reader.totals();
    return {
      summary: {
        ...summary,
        lastStep: reader.marks().lastStep,
        ...(facts && { totalSteps: facts.totalSteps }),
        ...(lastLoss !== undefined && { lastLoss }),
      },
      spec,
      facts,
      series: reader.series(),
      routing: reader.routing({ limit: ROUTING_LIMIT }),
      checkpoints: reader.checkpoints(),
      ...(audit && { audit }),
      scores: readScores(runDir),
    };
  } finally {
    reader.close();
  }
}
