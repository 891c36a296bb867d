/** Starts the heartbeat thread and tells it where the run is. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Heartbeat } from '#core/contract/worker-protocol.ts';

/** Phases by their number in the memory that both threads share. */
export const phases = [
  'preparing',
  'training',
  'evaluating',
  'checkpointing',
  'paused',
  'ending',
] as const satisfies readonly Heartbeat['phase'][];

/** Handed to the thread at its start. */
export interface HeartbeatOptions {
  /** The `heartbeat.json` to write. */
  readonly file: string;
  /** Three 32-bit integers: phase number, step, micro-batch. */
  readonly pulse: SharedArrayBuffer;
  /** End the process when this is no longer the parent; null: never (a detached run). */
  readonly parentPid: number | null;
  readonly intervalMs: number;
  /** How long a worker without parent may take to leave by itself; sixty times as long while it saves. */
  readonly graceMs: number;
}

/** The main thread's side. */
export interface HeartbeatHandle {
  /** Cheap: three stores into shared memory. */
  progress(phase: Heartbeat['phase'], step: number, microBatch: number): void;
  stop(): Promise<void>;
}

/** Starts the thread for the run in `runDir`. */
export function startHeartbeat(
  runDir: string,
  parentPid: number | null,
  { intervalMs = 1000, graceMs = 10_000 } = {},
): HeartbeatHandle {
  // The heartbeat of an earlier start of the run says nothing about this one.
  rmSync(path.join(runDir, 'heartbeat.json'), { force: true });
  const pulse = new SharedArrayBuffer(12);
  const view = new Int32Array(pulse);
  const options: HeartbeatOptions = {
    file: path.join(runDir, 'heartbeat.json'),
    pulse,
    parentPid,
    intervalMs,
    graceMs,
  };
  // The thread's file lies beside this one, as source and as bundle.
  const file = path.join(import.meta.dirname, `heartbeat.thread${path.extname(import.meta.filename)}`);
  const thread = new Worker(pathToFileURL(file), {
    workerData: options,
    // The thread needs a few kilobytes; a default heap would reserve far more.
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  });
  thread.unref();
  return {
    progress: (phase, step, microBatch) => {
      Atomics.store(view, 1, step);
      Atomics.store(view, 2, microBatch);
      Atomics.store(view, 0, phases.indexOf(phase));
    },
    stop: async () => void (await thread.terminate()),
  };
}
