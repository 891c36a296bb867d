/** What a run directory holds. Complete in itself: copied, it opens on another machine. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import { RoutingAudit } from '#core/contract/audit.ts';
import { UserError } from '#core/contract/errors.ts';
import { parseRunSpec, type RunSpec } from '#core/contract/run-spec.ts';
import { RunScores, suiteKey, type SuiteScore } from '#core/contract/suite-score.ts';

/** Paths inside the run directory `dir`. */
export function runFiles(dir: string) {
  return {
    /** The run specification, itself a valid RUN.json. */
    spec: path.join(dir, 'run.json'),
    db: path.join(dir, 'run.db'),
    heartbeat: path.join(dir, 'heartbeat.json'),
    checkpoints: path.join(dir, 'checkpoints'),
    /** What a detached worker wrote to stderr. */
    errorLog: path.join(dir, 'worker.log'),
    /** What the audit of its routing found, where there was one. */
    audit: path.join(dir, 'audit.json'),
    /** What it scores on suites of questions, where it was asked any. */
    scores: path.join(dir, 'scores.json'),
  };
}

/** Writes `spec` as the run's `run.json`, in one piece or not at all. */
export function writeRunSpec(dir: string, spec: RunSpec): void {
  writeDocument(runFiles(dir).spec, spec);
}

/** Writes `audit` beside the run, in one piece or not at all; replaces an earlier one. */
export function writeAudit(dir: string, audit: RoutingAudit): void {
  writeDocument(runFiles(dir).audit, audit);
}

/**
 * Reads what `writeAudit` wrote; undefined where the run was not audited.
 * @throws UserError `run/bad-audit`.
 */
export function readAudit(dir: string): RoutingAudit | undefined {
  const file = runFiles(dir).audit;
  if (!existsSync(file)) return undefined;
  try {
    return RoutingAudit.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw new UserError('run/bad-audit', `${file} is not a valid audit`, 'Audit the run again.', {
      cause: error,
    });
  }
}

/** Keeps `scores` beside the run, each in place of an earlier one of its suite. @throws UserError `run/bad-scores`. */
export function writeScores(dir: string, scores: readonly SuiteScore[]): void {
  const now = new Set(scores.map(suiteKey));
  const kept = readScores(dir).filter((score) => !now.has(suiteKey(score)));
  writeDocument(runFiles(dir).scores, { version: 1, suites: [...kept, ...scores] } satisfies RunScores);
}

/** Reads what `writeScores` wrote. @throws UserError `run/bad-scores`. */
export function readScores(dir: string): readonly SuiteScore[] {
  const file = runFiles(dir).scores;
  if (!existsSync(file)) return [];
  try {
    return RunScores.parse(JSON.parse(readFileSync(file, 'utf8'))).suites;
  } catch (error) {
    throw new UserError('run/bad-scores', `${file} holds no valid scores`, 'Delete it and evaluate again.', {
      cause: error,
    });
  }
}

function writeDocument(file: string, document: unknown): void {
  const partial = `${file}.partial`;
  const fd = openSync(partial, 'w');
  try {
    writeSync(fd, `${JSON.stringify(document, null, 2)}\n`);
    fsyncSync(fd);
  } catch (error) {
    throw diskFullOr(error, file);
  } finally {
    closeSync(fd);
  }
  renameSync(partial, file);
}

/**
 * Reads the run's `run.json`.
 * @throws UserError `run/no-spec` when the file is missing or not JSON, `run-spec/invalid` when a field is wrong.
 */
export function readRunSpec(dir: string): RunSpec {
  const file = runFiles(dir).spec;
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UserError(
      'run/no-spec',
      `${file}: not a readable JSON document (${error instanceof Error ? error.message : String(error)})`,
      'Choose a run directory; it holds run.json and run.db.',
      { cause: error },
    );
  }
  return parseRunSpec(document, file);
}

function diskFullOr(error: unknown, file: string): unknown {
  if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') {
    return new UserError(
      'store/disk-full',
      `${file}: no space left on the disk`,
      'Free some space, then try again.',
      {
        cause: error,
      },
    );
  }
  return error;
}
