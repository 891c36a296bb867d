/** What a run directory holds. Complete in itself: copied, it opens on another machine. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import { UserError } from '#core/contract/errors.ts';
import { parseRunSpec, type RunSpec } from '#core/contract/run-spec.ts';

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
  };
}

/** Writes `spec` as the run's `run.json`, in one piece or not at all. */
export function writeRunSpec(dir: string, spec: RunSpec): void {
  const file = runFiles(dir).spec;
  const partial = `${file}.partial`;
  const fd = openSync(partial, 'w');
  try {
    writeSync(fd, `${JSON.stringify(spec, null, 2)}\n`);
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
