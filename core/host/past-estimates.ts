/** How far the estimates of memory and time were off in the runs that finished. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { EstimateError, RunPlan } from '#core/contract/method.ts';
import { type AppDb, openAppDb, type RunReader } from '#core/store/index.ts';
import { createRunReaders, type RunReaders } from './run-readers.ts';

/** Runs looked at, the newest first: older ones may be of another version or machine. */
const MOST_RUNS = 20;

/** Shorter runs spend their time on starting and on reading, which is not estimated. */
const SHORTEST_SECONDS = 10;

/** Errors over the newest completed runs in `db`. */
export function pastErrorsOf(db: AppDb, readers: RunReaders): NonNullable<RunPlan['pastErrors']> {
  const finished = db.runs
    .list()
    .filter((row) => row.state === 'completed')
    .toSorted((a, b) => b.createdMs - a.createdMs)
    .slice(0, MOST_RUNS);
  const errors = finished.map((row) => readers.read(row.dir, {}, errorsOf));
  const memory = summarise(errors.flatMap((error) => error.memory ?? []));
  const time = summarise(errors.flatMap((error) => error.time ?? []));
  return { ...(memory && { memory }), ...(time && { time }) };
}

/** As `pastErrorsOf`, of the data folder `home`, which may not exist yet. */
export function pastErrorsIn(home: string): NonNullable<RunPlan['pastErrors']> {
  const file = path.join(home, 'app.db');
  if (!existsSync(file)) return {};
  const db = openAppDb(file);
  const readers = createRunReaders();
  try {
    return pastErrorsOf(db, readers);
  } finally {
    readers.close();
    db.close();
  }
}

/** Measured ÷ estimated − 1 of one run: peak resident memory, and time from its start to its end, if it is long enough. */
function errorsOf(reader: RunReader): { memory?: number; time?: number } {
  const facts = reader.facts();
  const { peakRssMB } = reader.totals();
  const { events } = reader.series({ afterStep: Number.MAX_SAFE_INTEGER });
  const started = events.find(({ kind }) => kind === 'started');
  const ended = events.findLast(({ kind }) => kind === 'ended');
  // A pause, or the time between a crash and going on, is nothing that was estimated.
  const straight = !events.some(({ kind }) => kind === 'paused' || kind === 'resumed');
  // Plans are made for the processor.
  const onCpu = facts?.provider === 'cpu' ? facts : undefined;
  const estimated = onCpu?.estimatedSeconds;
  const middle = estimated && (estimated.low + estimated.high) / 2;
  return {
    ...(onCpu && peakRssMB !== undefined && { memory: peakRssMB / onCpu.estimatedMemoryMB - 1 }),
    ...(middle !== undefined &&
      middle >= SHORTEST_SECONDS &&
      started &&
      ended &&
      straight && { time: (ended.wallMs - started.wallMs) / 1000 / middle - 1 }),
  };
}

function summarise(errors: readonly number[]): EstimateError | undefined {
  const sorted = errors.toSorted((a, b) => a - b);
  const [lowest, highest] = [sorted[0], sorted.at(-1)];
  if (lowest === undefined || highest === undefined) return undefined;
  const at = (position: number) => sorted[position] ?? lowest;
  const median = (at(Math.floor((sorted.length - 1) / 2)) + at(Math.ceil((sorted.length - 1) / 2))) / 2;
  return { runs: sorted.length, median, lowest, highest };
}
