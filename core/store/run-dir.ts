/** What a run directory holds. Complete in itself: copied, it opens on another machine. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { z } from 'zod';
import { RoutingAudit } from '#core/contract/audit.ts';
import { UserError } from '#core/contract/errors.ts';
import { type KeptExport, RunExports } from '#core/contract/run-export.ts';
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
    /** What was exported of it. */
    exports: path.join(dir, 'exports.json'),
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
  return readDocument(runFiles(dir).audit, RoutingAudit, {
    code: 'run/bad-audit',
    what: 'is not a valid audit',
    hint: 'Audit the run again.',
  });
}

/**
 * Keeps `scores` beside the run, each in place of an earlier one of its suite; one that was stopped not in place of one over
 * more questions. @throws UserError `run/bad-scores`.
 */
export function writeScores(dir: string, scores: readonly SuiteScore[]): void {
  const kept = new Map(readScores(dir).map((score) => [suiteKey(score), score]));
  for (const score of scores) {
    const key = suiteKey(score);
    if (score.of !== undefined && (kept.get(key)?.n ?? 0) > score.n) continue;
    // What was asked last comes last.
    kept.delete(key);
    kept.set(key, score);
  }
  writeDocument(runFiles(dir).scores, { version: 1, suites: [...kept.values()] } satisfies RunScores);
}

/** Reads what `writeScores` wrote. @throws UserError `run/bad-scores`. */
export function readScores(dir: string): readonly SuiteScore[] {
  const document = readDocument(runFiles(dir).scores, RunScores, {
    code: 'run/bad-scores',
    what: 'holds no valid scores',
    hint: 'Delete it and evaluate again.',
  });
  return document?.suites ?? [];
}

/** Remembers an export beside the run, in place of an earlier one to the same folder. @throws UserError `run/bad-exports`. */
export function writeExport(dir: string, written: KeptExport): void {
  const exports = [...readExports(dir).filter(({ out }) => out !== written.out), written];
  writeDocument(runFiles(dir).exports, { version: 1, exports } satisfies RunExports);
}

/** Reads what `writeExport` wrote. @throws UserError `run/bad-exports`. */
export function readExports(dir: string): readonly KeptExport[] {
  const document = readDocument(runFiles(dir).exports, RunExports, {
    code: 'run/bad-exports',
    what: 'is no valid list of exports',
    hint: 'Delete it; the exports themselves stay where they are.',
  });
  return document?.exports ?? [];
}

/** The document in `file`, or undefined where there is none. @throws UserError `bad.code` where it is not what `schema` says. */
function readDocument<T>(
  file: string,
  schema: z.ZodType<T>,
  bad: { readonly code: string; readonly what: string; readonly hint: string },
): T | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    throw new UserError(bad.code, `${file} ${bad.what}`, bad.hint, { cause: error });
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
