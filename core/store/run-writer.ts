/** The one writer of a run database: the run's worker. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { CheckpointInfo } from '#core/contract/checkpoint.ts';
import { type ErrorInfo, invariant, UserError } from '#core/contract/errors.ts';
import type { Evaluation, RoutingRecord, RunEventRecord, StepMetrics } from '#core/contract/metrics.ts';
import type { RunFacts } from '#core/contract/run.ts';
import type { WorkerExit } from '#core/contract/run-state.ts';
import { openWritable, type Store } from './open.ts';
import { packUsage } from './routing-blob.ts';
import { takeRunLock } from './run-lock.ts';
import { openRunReader } from './run-reader.ts';
import { runStore } from './run-store.ts';

/** How a worker says it ended; what the host finds out itself (killed, oom, lost) is not written here. */
export type RecordedExit = Extract<WorkerExit, 'completed' | 'stopped' | 'failed'>;

/**
 * Writes facts in order. When a call returns, its fact is in the file even if the process is killed the next moment; a
 * power loss can take back the last transactions (see `open.ts`).
 * @throws UserError `store/disk-full` from every call; what was committed before stays readable.
 */
export interface RunWriter {
  facts(facts: RunFacts): void;
  /** `routing` is null where the step was not recorded. */
  step(metrics: StepMetrics, routing: RoutingRecord | null): void;
  /** Also adds an `evaluation` event, whose id it returns. */
  evaluation(evaluation: Evaluation): number;
  event(kind: RunEventRecord['kind'], step: number, message: string): number;
  /** Also adds a `checkpoint` event, whose id it returns. Paths inside the run directory are kept relative to it. */
  checkpoint(info: CheckpointInfo): number;
  /**
   * Goes back to the checkpoint of step `checkpoint`, or to the start of the run where there is none (null): everything
   * measured after it is removed, in one transaction with a `resumed` event, whose id it returns.
   */
  resetTo(checkpoint: number | null): number;
  /** Records how the run ended, with an `ended` event, whose id it returns. Forgotten when a writer opens the file again. */
  ended(exit: RecordedExit, step: number, error?: ErrorInfo): number;
  close(): void;
}

/**
 * Opens `file` (created when missing) as its only writer.
 * @param owner `pid` of the process that will write, named to whoever is refused.
 * @throws UserError `run/in-use` while another process writes it, and those of `openWritable`.
 */
export function openRunWriter(file: string, owner: { readonly pid: number }): RunWriter {
  if (!existsSync(path.dirname(file))) {
    throw new UserError('store/no-access', `${file}: the run directory does not exist`, 'Create it first.');
  }
  const release = takeRunLock(file);
  if (release === null) throw inUse(file);
  try {
    const store = openWritable(file, runStore);
    const writer = writerOf(store, path.dirname(file), release);
    store.use((db) => {
      db.prepare('INSERT OR REPLACE INTO writer(id, pid, opened_ms) VALUES (1, ?, ?)').run(
        owner.pid,
        Date.now(),
      );
      db.exec('DELETE FROM outcome');
    });
    return writer;
  } catch (error) {
    release();
    throw error;
  }
}

function inUse(file: string): UserError {
  let holder = 'another process';
  if (existsSync(file)) {
    const reader = openRunReader(file);
    const writer = reader.writer();
    reader.close();
    if (writer) holder = `process ${writer.pid} (since ${new Date(writer.openedMs).toISOString()})`;
  }
  return new UserError(
    'run/in-use',
    `${file}: ${holder} is writing this run`,
    'Wait for it to end, or stop that run first.',
  );
}

function writerOf(store: Store, dir: string, release: () => void): RunWriter {
  const sql = store.use((db) => ({
    facts: db.prepare('INSERT OR REPLACE INTO facts(id, document) VALUES (1, ?)'),
    step: db.prepare(
      `INSERT INTO step(step, wall_ms, loss, learning_rate, grad_norm, tokens, trained_tokens, tokens_per_second, rss_mb, aux_loss, device_mb)
       VALUES (@step, @wallMs, @loss, @learningRate, @gradNorm, @tokens, @trainedTokens, @tokensPerSecond, @rssMB, @auxLoss, @deviceMB)`,
    ),
    usage: db.prepare(
      `INSERT INTO usage(step, encoding, counts, mass, soft, grad_norm, bias, condensers)
       VALUES (@step, @encoding, @counts, @mass, @soft, @grad_norm, @bias, @condensers)`,
    ),
    event: db.prepare('INSERT INTO event(step, wall_ms, kind, message) VALUES (?, ?, ?, ?)'),
    evaluation: db.prepare(
      `INSERT OR REPLACE INTO evaluation(step, loss, trained_tokens, event_id, general_loss, general_tokens)
       VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    checkpoint: db.prepare(
      'INSERT OR REPLACE INTO checkpoint(step, path, bytes, wall_ms) VALUES (?, ?, ?, ?)',
    ),
    outcome: db.prepare('INSERT OR REPLACE INTO outcome(id, exit, error) VALUES (1, ?, ?)'),
    lastStep: db.prepare<[], number>('SELECT coalesce(max(step), 0) FROM step').pluck(),
    // `usage` follows by its foreign key.
    removals: ['step', 'evaluation', 'checkpoint'].map((table) =>
      db.prepare(`DELETE FROM ${table} WHERE step > ?`),
    ),
  }));
  const inTransaction = <T>(work: () => T): T => store.use((db) => db.transaction(work).immediate());
  const addEvent = (kind: RunEventRecord['kind'], step: number, message: string): number =>
    Number(sql.event.run(step, Date.now(), kind, message).lastInsertRowid);

  return {
    facts: (facts) => store.use(() => void sql.facts.run(JSON.stringify(facts))),
    step: (metrics, routing) => {
      invariant(
        Number.isFinite(metrics.loss) && Number.isFinite(metrics.gradNorm),
        `step ${metrics.step}: loss ${metrics.loss} and gradient norm ${metrics.gradNorm} must be finite`,
      );
      invariant(
        routing === null || routing.step === metrics.step,
        `step ${metrics.step}: routing record of step ${routing?.step}`,
      );
      inTransaction(() => {
        sql.step.run({ ...metrics, auxLoss: metrics.auxLoss ?? null, deviceMB: metrics.deviceMB ?? null });
        if (routing) sql.usage.run(packUsage(routing));
      });
    },
    evaluation: ({ step, loss, trainedTokens, general }) =>
      inTransaction(() => {
        const over = (tokens: number) => `over ${tokens.toLocaleString('en')} tokens`;
        const more = general
          ? `; on general data ${general.loss.toFixed(4)} ${over(general.trainedTokens)}`
          : '';
        const id = addEvent(
          'evaluation',
          step,
          `Validation loss ${loss.toFixed(4)} ${over(trainedTokens)}${more}.`,
        );
        const [generalLoss, generalTokens] = [general?.loss ?? null, general?.trainedTokens ?? null];
        sql.evaluation.run(step, loss, trainedTokens, id, generalLoss, generalTokens);
        return id;
      }),
    event: (kind, step, message) => store.use(() => addEvent(kind, step, message)),
    checkpoint: ({ step, path: absolute, bytes, wallMs }) =>
      inTransaction(() => {
        sql.checkpoint.run(step, relativeTo(dir, absolute), bytes, wallMs);
        return addEvent('checkpoint', step, `Checkpoint of step ${step} saved (${megabytes(bytes)}).`);
      }),
    resetTo: (checkpoint) =>
      inTransaction(() => {
        const step = checkpoint ?? 0;
        const last = sql.lastStep.get() ?? 0;
        for (const removal of sql.removals) removal.run(step);
        const start =
          checkpoint === null
            ? 'Begins again at the start: there is no checkpoint.'
            : `Resumed from the checkpoint of step ${step}.`;
        const dropped = last > step ? ` Steps ${step + 1} to ${last} are trained again.` : '';
        return addEvent('resumed', step, `${start}${dropped}`);
      }),
    ended: (exit, step, error) =>
      inTransaction(() => {
        sql.outcome.run(exit, error === undefined ? null : JSON.stringify(error));
        return addEvent(
          'ended',
          step,
          error === undefined ? `Run ${exit}.` : `Run ${exit}: ${error.message}.`,
        );
      }),
    close: () => {
      store.close();
      release();
    },
  };
}

/** `absolute` as stored: relative with forward slashes where it lies in the run directory, so that a copy still finds it. */
function relativeTo(dir: string, absolute: string): string {
  const relative = path.relative(path.resolve(dir), path.resolve(absolute));
  const inside = !relative.startsWith('..') && !path.isAbsolute(relative);
  return inside ? relative.split(path.sep).join('/') : path.resolve(absolute);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString('en', { maximumSignificantDigits: 3 })} MB`;
}
