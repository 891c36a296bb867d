/** Reads a run database while its worker writes it, or after. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { CheckpointInfo } from '#core/contract/checkpoint.ts';
import { UserError } from '#core/contract/errors.ts';
import {
  type Evaluation,
  type RoutingRecord,
  RunEventRecord,
  type StepMetrics,
} from '#core/contract/metrics.ts';
import { ErrorInfoSchema } from '#core/contract/result.ts';
import { RunFacts } from '#core/contract/run.ts';
import type { RoutingQuery, Series, SeriesQuery } from '#core/contract/run.ts';
import { openReadable, type Store } from './open.ts';
import { unpackUsage, type UsageRow } from './routing-blob.ts';
import { runStore } from './run-store.ts';

const Outcome = z.object({
  exit: z.enum(['completed', 'stopped', 'failed']),
  error: ErrorInfoSchema.optional(),
});
/** How the worker said it ended. */
export type RunOutcome = z.infer<typeof Outcome>;

/** Sums over all steps; what no step measured is absent. */
export interface RunTotals {
  readonly steps: number;
  /** Non-padding tokens. */
  readonly tokens: number;
  readonly trainedTokens: number;
  /** Time spent in optimizer steps, without evaluation, checkpoints and pauses: Σ tokens / (tokens per second). */
  readonly seconds: number;
  readonly peakRssMB?: number;
  readonly peakDeviceMB?: number;
  readonly lastLoss?: number;
  /** Of the first step, milliseconds since the epoch. */
  readonly firstWallMs?: number;
}

/** All queries see one committed state each; none blocks the writer. */
export interface RunReader {
  /** Null until the worker has prepared the run. */
  facts(): RunFacts | null;
  /**
   * What was committed after the marks. Where the run went back to a checkpoint since `afterEvent`, steps are given from
   * there on again: a caller replaces what it holds from the first given step on.
   */
  series(query?: Partial<Omit<z.infer<typeof SeriesQuery>, 'id'>>): Series;
  routing(query?: Partial<Omit<z.infer<typeof RoutingQuery>, 'id'>>): RoutingRecord[];
  /** High-water marks; 0 where there is nothing yet. */
  marks(): { lastStep: number; lastEvent: number };
  /** Checkpoints that are still on the disk, oldest first, with absolute paths. */
  checkpoints(): CheckpointInfo[];
  totals(): RunTotals;
  /** Null while the run goes on, and when its worker ended without a word. */
  outcome(): RunOutcome | null;
  /** The process that last opened the file for writing. */
  writer(): { pid: number; openedMs: number } | null;
  close(): void;
}

/**
 * Opens `file` for reading; several readers and the writer work side by side.
 * @throws UserError `store/missing`, `store/empty`, `store/damaged`, `store/newer-version` …
 */
export function openRunReader(file: string): RunReader {
  const store = openReadable(file, runStore);
  try {
    return readerOf(store);
  } catch (error) {
    store.close();
    throw error;
  }
}

type StepRow = Omit<StepMetrics, 'auxLoss' | 'deviceMB'> & {
  auxLoss: number | null;
  deviceMB: number | null;
};
type EvaluationRow = Omit<Evaluation, 'general'> & {
  generalLoss: number | null;
  generalTokens: number | null;
};

function readerOf(store: Store): RunReader {
  const dir = path.dirname(path.resolve(store.file));
  const sql = store.use((db) => ({
    facts: db.prepare<[], string>('SELECT document FROM facts').pluck(),
    steps: db.prepare<[number], StepRow>(
      `SELECT step, wall_ms AS wallMs, loss, learning_rate AS learningRate, grad_norm AS gradNorm, tokens,
         trained_tokens AS trainedTokens, tokens_per_second AS tokensPerSecond, rss_mb AS rssMB, aux_loss AS auxLoss,
         device_mb AS deviceMB
       FROM step WHERE step > ? ORDER BY step`,
    ),
    evaluations: db.prepare<[number, number], EvaluationRow>(
      `SELECT step, loss, trained_tokens AS trainedTokens, general_loss AS generalLoss, general_tokens AS generalTokens
       FROM evaluation
       WHERE event_id > ? OR step > ? ORDER BY step`,
    ),
    events: db.prepare<[number]>(
      'SELECT id, step, wall_ms AS wallMs, kind, message FROM event WHERE id > ? ORDER BY id',
    ),
    wentBackTo: db
      .prepare<[number], number | null>("SELECT min(step) FROM event WHERE kind = 'resumed' AND id > ?")
      .pluck(),
    usageSteps: db
      .prepare<[number, number], number>('SELECT step FROM usage WHERE step BETWEEN ? AND ? ORDER BY step')
      .pluck(),
    usage: db.prepare<[number], UsageRow>('SELECT * FROM usage WHERE step = ?'),
    marks: db.prepare<[], { lastStep: number; lastEvent: number }>(
      `SELECT (SELECT coalesce(max(step), 0) FROM step) AS lastStep,
         (SELECT coalesce(max(id), 0) FROM event) AS lastEvent`,
    ),
    checkpoints: db.prepare<[], CheckpointInfo>(
      'SELECT step, path, bytes, wall_ms AS wallMs FROM checkpoint ORDER BY step',
    ),
    totals: db.prepare<[], Record<string, number | null>>(
      `SELECT count(*) AS steps, coalesce(sum(tokens), 0) AS tokens, coalesce(sum(trained_tokens), 0) AS trainedTokens,
         coalesce(sum(CASE WHEN tokens_per_second > 0 THEN tokens / tokens_per_second END), 0) AS seconds,
         max(rss_mb) AS peakRssMB, max(device_mb) AS peakDeviceMB, min(wall_ms) AS firstWallMs,
         (SELECT loss FROM step ORDER BY step DESC LIMIT 1) AS lastLoss
       FROM step`,
    ),
    outcome: db.prepare<[], { exit: string; error: string | null }>('SELECT exit, error FROM outcome'),
    writer: db.prepare<[], { pid: number; openedMs: number }>(
      'SELECT pid, opened_ms AS openedMs FROM writer',
    ),
  }));
  const atOnce = <T>(work: () => T): T => store.use((db) => db.transaction(work).deferred());
  const parsed = <T>(schema: z.ZodType<T>, value: unknown, what: string): T =>
    parseRow(store.file, schema, value, what);

  return {
    facts: () => {
      const document = store.use(() => sql.facts.get());
      return document === undefined ? null : parsed(RunFacts, fromJson(document), 'facts');
    },
    series: ({ afterStep = -1, afterEvent = 0 } = {}) =>
      atOnce(() => {
        const from = Math.min(afterStep, sql.wentBackTo.get(afterEvent) ?? afterStep);
        return {
          steps: sql.steps.all(from).map(({ auxLoss, deviceMB, ...row }) => ({
            ...row,
            ...(auxLoss !== null && { auxLoss }),
            ...(deviceMB !== null && { deviceMB }),
          })),
          evaluations: sql.evaluations
            .all(afterEvent, from)
            .map(({ generalLoss, generalTokens, ...row }) => ({
              ...row,
              ...(generalLoss !== null && {
                general: { loss: generalLoss, trainedTokens: generalTokens ?? 0 },
              }),
            })),
          events: sql.events.all(afterEvent).map((row) => parsed(RunEventRecord, row, 'event')),
        };
      }),
    routing: ({ fromStep = 0, toStep = Number.MAX_SAFE_INTEGER, limit = 200 } = {}) =>
      atOnce(() =>
        thinned(sql.usageSteps.all(fromStep, toStep), limit).flatMap((step) => {
          const row = sql.usage.get(step);
          return row === undefined ? [] : [unpackUsage(row)];
        }),
      ),
    marks: () => store.use(() => sql.marks.get()) ?? { lastStep: 0, lastEvent: 0 },
    checkpoints: () =>
      store
        .use(() => sql.checkpoints.all())
        .map((row) => ({ ...row, path: path.resolve(dir, row.path) }))
        .filter((row) => existsSync(row.path)),
    totals: () => {
      const row = store.use(() => sql.totals.get()) ?? {};
      const number = (key: string) => row[key] ?? undefined;
      const [peakRssMB, peakDeviceMB, lastLoss, firstWallMs] = [
        'peakRssMB',
        'peakDeviceMB',
        'lastLoss',
        'firstWallMs',
      ].map(number);
      return {
        steps: number('steps') ?? 0,
        tokens: number('tokens') ?? 0,
        trainedTokens: number('trainedTokens') ?? 0,
        seconds: number('seconds') ?? 0,
        ...(peakRssMB !== undefined && { peakRssMB }),
        ...(peakDeviceMB !== undefined && { peakDeviceMB }),
        ...(lastLoss !== undefined && { lastLoss }),
        ...(firstWallMs !== undefined && { firstWallMs }),
      };
    },
    outcome: () => {
      const row = store.use(() => sql.outcome.get());
      if (row === undefined) return null;
      const error = row.error === null ? {} : { error: fromJson(row.error) };
      return parsed(Outcome, { exit: row.exit, ...error }, 'outcome');
    },
    writer: () => store.use(() => sql.writer.get()) ?? null,
    close: () => store.close(),
  };
}

/** At most `limit` of `values`, evenly spread by position, first and last included (only the last when `limit` is 1). */
function thinned<T>(values: readonly T[], limit: number): T[] {
  if (values.length <= limit) return [...values];
  if (limit === 1) return values.slice(-1);
  return Array.from({ length: limit }, (_, i) => Math.round((i * (values.length - 1)) / (limit - 1))).flatMap(
    (at) => values.slice(at, at + 1),
  );
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema check that follows names the place.
  }
}

/** Checks what a row holds; another program may have written it. */
export function parseRow<T>(file: string, schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new UserError(
    'store/damaged',
    `${file}: a stored ${what} is not valid (${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''})`,
    'Restore the file from a copy.',
  );
}
