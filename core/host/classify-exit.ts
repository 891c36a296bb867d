/** Says how a worker ended, from everything that is known of its end (WP9). */
import type { z } from 'zod';
import type { ErrorInfoSchema } from '#core/contract/result.ts';
import type { WorkerExit } from '#core/contract/run-state.ts';
import { EXIT_FAILED, EXIT_STOPPED, EXIT_VERSION_MISMATCH } from '#core/contract/worker-protocol.ts';
import type { ProcessExit } from './ports.ts';

/** An error as it crossed a boundary. */
export type WireError = z.infer<typeof ErrorInfoSchema>;

/** How a run's worker ended, and why in a sentence. */
export interface RunEnd {
  readonly exit: WorkerExit;
  readonly error?: WireError;
  /** Absent where the exit says it all. */
  readonly reason?: string;
}

/** The traces a worker leaves. */
export interface ExitEvidence {
  /** What the operating system says; null for a process that was not ours. */
  readonly process: ProcessExit | null;
  /** What the worker itself said or committed. */
  readonly said: {
    readonly exit: 'completed' | 'stopped' | 'failed';
    readonly error?: WireError | undefined;
  } | null;
  /** The host killed it: on request of the user, or because the host itself was ending. */
  readonly killedByHost: 'on-request' | 'on-close' | null;
  /** The kernel's count of processes killed for memory rose while the worker ran. */
  readonly oomKillSeen: boolean;
  /** The last lines the worker wrote to stderr. */
  readonly errorTail: string;
}

const TAKE_LESS_MEMORY =
  'Use a smaller micro-batch or maximum length, train fewer parameters, or close other programs; then resume.';

/** The end that `evidence` shows. Pure. */
export function classifyExit(evidence: ExitEvidence): RunEnd {
  const { process, said, killedByHost, oomKillSeen, errorTail } = evidence;
  if (said) {
    return said.error === undefined
      ? { exit: said.exit }
      : { exit: said.exit, error: said.error, reason: said.error.message };
  }
  if (killedByHost === 'on-request') {
    return { exit: 'stopped', reason: 'Ended at once on request; the last checkpoint is kept.' };
  }
  if (killedByHost === 'on-close') {
    return {
      exit: 'killed',
      reason: 'Condenser closed before the run could save; the last checkpoint is kept.',
    };
  }
  if (process === null || (process.code === null && process.signal === null)) {
    return {
      exit: 'lost',
      reason: 'The training process disappeared; the computer may have been switched off.',
    };
  }
  if (/heap out of memory|bad_alloc|Cannot allocate memory/.test(errorTail) && process.code !== EXIT_FAILED) {
    return { exit: 'oom', reason: `The training process ran out of memory. ${TAKE_LESS_MEMORY}` };
  }
  if (process.signal === 'SIGKILL' && oomKillSeen) {
    return {
      exit: 'oom',
      reason: `The system ended the training process for want of memory. ${TAKE_LESS_MEMORY}`,
    };
  }
  if (process.signal !== null) {
    return { exit: 'killed', reason: `The training process was ended by ${process.signal}.` };
  }
  switch (process.code) {
    case EXIT_VERSION_MISMATCH: {
      const message = 'the training program belongs to another version of Condenser';
      return {
        exit: 'failed',
        error: { code: 'worker/version-mismatch', message, hint: 'Install Condenser anew, then resume.' },
        reason: message,
      };
    }
    case EXIT_STOPPED:
      return { exit: 'stopped' };
    case 0:
      return { exit: 'lost', reason: 'The training process ended without saying how.' };
    default: {
      const message = `the training process crashed with exit status ${process.code}`;
      const lines = errorTail.trim();
      return {
        exit: 'failed',
        error: { code: 'worker/crashed', message: lines === '' ? message : `${message}: ${lines}` },
        reason: message,
      };
    }
  }
}
