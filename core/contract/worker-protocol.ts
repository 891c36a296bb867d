/**
 * Messages between the host and a training worker (rules WP1–WP10, `docs/spec/worker-protocol.md`).
 *
 * The worker is a process of its own; messages are structured clones over the process channel. Facts never travel
 * here: they are committed to `run.db`, and a notice carries only how far it goes.
 */
import { z } from 'zod';
import { RunId } from './ids.ts';
import { RunFacts } from './run.ts';
import { RunSpec } from './run-spec.ts';
import { ErrorInfoSchema } from './result.ts';

/** Raised by every change that an older peer would misread. */
export const PROTOCOL_VERSION = 1;

/** Exit status of a worker whose host speaks another version (WP1). */
export const EXIT_VERSION_MISMATCH = 64;
/** Exit status after a stop by the user. */
export const EXIT_STOPPED = 3;
/** Exit status after a failure that is in `run.db`. */
export const EXIT_FAILED = 1;

/** What a host says to a worker: hello first, then start, then commands with a number for the reply. */
export const HostToWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('hello'), version: z.int() }),
  z.object({
    type: z.literal('start'),
    runId: RunId,
    runDir: z.string(),
    /** Paths are absolute here. */
    spec: RunSpec,
    cacheDir: z.string(),
    resume: z.boolean(),
    /** Keep training when the host is gone (WP7). */
    detached: z.boolean(),
  }),
  z.object({ type: z.literal('pause'), request: z.int() }),
  z.object({ type: z.literal('resume'), request: z.int() }),
  z.object({ type: z.literal('stop'), request: z.int(), keep: z.boolean() }),
  z.object({ type: z.literal('checkpoint'), request: z.int() }),
]);
export type HostToWorker = z.infer<typeof HostToWorker>;

/** What a worker says to its host. */
export const WorkerToHost = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), version: z.int(), pid: z.int() }),
  z.object({ type: z.literal('started'), facts: RunFacts, step: z.int() }),
  z.object({ type: z.literal('state'), state: z.enum(['running', 'paused']) }),
  z.object({ type: z.literal('advanced'), runId: RunId, lastStep: z.int(), lastEvent: z.int() }),
  z.object({
    type: z.literal('reply'),
    request: z.int(),
    ok: z.boolean(),
    error: ErrorInfoSchema.optional(),
  }),
  z.object({
    type: z.literal('ended'),
    exit: z.enum(['completed', 'stopped', 'failed']),
    error: ErrorInfoSchema.optional(),
  }),
]);
export type WorkerToHost = z.infer<typeof WorkerToHost>;

/** `runs/<id>/heartbeat.json`, rewritten each second by a thread of the worker (WP7, WP8). */
export const Heartbeat = z.object({
  pid: z.int(),
  wallMs: z.number(),
  phase: z.enum(['preparing', 'training', 'evaluating', 'checkpointing', 'paused', 'ending']),
  step: z.int(),
  microBatch: z.int(),
  rssMB: z.number(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;
