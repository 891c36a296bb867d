/**
 * The life of a run: one column, one owner (the host), one pure transition function.
 *
 *     draft → queued → preparing → running ⇄ paused → completed | stopped | failed | interrupted
 *     interrupted | stopped | failed → queued (resume)
 */
import { z } from 'zod';
import { UserError } from './errors.ts';

/** Where a run is in its life. */
export const RunState = z.enum([
  'draft',
  'queued',
  'preparing',
  'running',
  'paused',
  'completed',
  'stopped',
  'failed',
  'interrupted',
]);
export type RunState = z.infer<typeof RunState>;

/** How a worker process ended (WP9). */
export const WorkerExit = z.enum(['completed', 'stopped', 'failed', 'killed', 'oom', 'lost']);
export type WorkerExit = z.infer<typeof WorkerExit>;

/** What may happen to a run. */
export type RunEvent =
  'enqueue' | 'prepare' | 'start' | 'pause' | 'resume' | 'complete' | 'stop' | 'fail' | 'interrupt';

const transitions: Record<RunState, Partial<Record<RunEvent, RunState>>> = {
  draft: { enqueue: 'queued' },
  queued: { prepare: 'preparing', stop: 'stopped', fail: 'failed' },
  preparing: { start: 'running', stop: 'stopped', fail: 'failed', interrupt: 'interrupted' },
  running: {
    pause: 'paused',
    complete: 'completed',
    stop: 'stopped',
    fail: 'failed',
    interrupt: 'interrupted',
  },
  paused: { resume: 'running', stop: 'stopped', fail: 'failed', interrupt: 'interrupted' },
  completed: {},
  stopped: { enqueue: 'queued' },
  failed: { enqueue: 'queued' },
  interrupted: { enqueue: 'queued' },
};

/** True where `event` is allowed in `state`. */
export function canTransition(state: RunState, event: RunEvent): boolean {
  return transitions[state][event] !== undefined;
}

/**
 * The state after `event`.
 * @throws UserError `run/wrong-state` when the event is not allowed now.
 */
export function transition(state: RunState, event: RunEvent): RunState {
  const next = transitions[state][event];
  if (next === undefined) {
    const allowed = Object.keys(transitions[state]).join(', ') || 'nothing more';
    throw new UserError(
      'run/wrong-state',
      `cannot ${event} a run that is ${state}`,
      `Allowed now: ${allowed}.`,
    );
  }
  return next;
}

/** True for states in which no worker belongs to the run. */
export function isEnded(state: RunState): boolean {
  return state === 'completed' || state === 'stopped' || state === 'failed' || state === 'interrupted';
}

/** The event that a classified worker exit means for its run. */
export function eventOfExit(exit: WorkerExit): RunEvent {
  switch (exit) {
    case 'completed':
      return 'complete';
    case 'stopped':
      return 'stop';
    case 'failed':
      return 'fail';
    case 'killed':
    case 'oom':
    case 'lost':
      return 'interrupt';
  }
}
