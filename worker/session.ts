/**
 * One run in one worker process: turns messages into commands for the trainer and the trainer's facts into committed
 * rows (rules WP1–WP6 of `docs/spec/worker-protocol.md`).
 */
import path from 'node:path';
import { type ErrorInfo, toErrorInfo, UserError } from '#core/contract/errors.ts';
import { methodLabel } from '#core/contract/methods-together.ts';
import type { RunFacts } from '#core/contract/run.ts';
import {
  EXIT_FAILED,
  EXIT_STOPPED,
  EXIT_VERSION_MISMATCH,
  HostToWorker,
  PROTOCOL_VERSION,
  type WorkerToHost,
} from '#core/contract/worker-protocol.ts';
import { coalesce, NOTICE_INTERVAL_MS, type Link } from '#core/link/index.ts';
import type { RunWriter } from '#core/store/index.ts';
import type { TrainingObserver, TrainingOutcome, TrainingRun } from '#worker/train/index.ts';
import { createRunControl, type RunControl } from './run-control.ts';

type Start = Extract<HostToWorker, { type: 'start' }>;

/** What the process around a session provides. */
export interface SessionPorts {
  readonly link: Link;
  /** Loads the trainer; called once, by `start`, so that an idle worker stays small. */
  readonly loadTrainer: () => Promise<(run: TrainingRun) => Promise<TrainingOutcome>>;
  /** Ends the process once what was sent has left it. */
  readonly exit: (code: number) => void;
  /** Calls `listener` when the operating system asks the process to end. */
  readonly onTerminate: (listener: () => void) => void;
}

/** Answers the host on `ports.link` until the run has ended. */
export function runSession(ports: SessionPorts): void {
  const { link } = ports;
  const send = (message: WorkerToHost): void => link.send(message);
  let greeted = false;
  let control: RunControl | undefined;

  const refuse = (request: number, code: string, message: string): void =>
    send({ type: 'reply', request, ok: false, error: { code, message } });

  link.onMessage((raw) => {
    const parsed = HostToWorker.safeParse(raw);
    if (!greeted && !(parsed.success && parsed.data.type === 'hello')) {
      console.error('the first message must be hello');
      ports.exit(EXIT_VERSION_MISMATCH);
      return;
    }
    if (!parsed.success) {
      console.error(`message not understood: ${parsed.error.message}`);
      return;
    }
    const message = parsed.data;
    switch (message.type) {
      case 'hello':
        if (message.version !== PROTOCOL_VERSION) {
          console.error(`this worker speaks protocol ${PROTOCOL_VERSION}, its host ${message.version}`);
          ports.exit(EXIT_VERSION_MISMATCH);
          return;
        }
        greeted = true;
        send({ type: 'ready', version: PROTOCOL_VERSION, pid: process.pid });
        return;
      case 'start':
        // `start` has no request number of its own; 0 stands for it.
        if (control) {
          refuse(0, 'worker/busy', 'this worker has its run already');
          return;
        }
        control = createRunControl();
        void runOnce(message, control, ports, send);
        return;
      default:
        if (control) control.command(message, (reply) => send({ type: 'reply', ...reply }));
        else refuse(message.request, 'worker/no-run', 'this worker has no run yet');
    }
  });
}

/** Trains the run of `start` from the first message to the exit of the process. */
async function runOnce(
  start: Start,
  control: RunControl,
  ports: SessionPorts,
  send: (message: WorkerToHost) => void,
): Promise<void> {
  const { openRunReader, openRunWriter, runFiles } = await import('#core/store/index.ts');
  const { startHeartbeat } = await import('./heartbeat.ts');
  const heartbeat = startHeartbeat(start.runDir, start.detached ? null : process.ppid);
  let writer: RunWriter | undefined;
  let lastStep = 0;
  let over = false;

  const end = (exit: 'completed' | 'stopped' | 'failed', error?: ErrorInfo): void => {
    if (over) return;
    over = true;
    heartbeat.progress('ending', lastStep, 0);
    try {
      writer?.ended(exit, lastStep, error);
      writer?.close();
    } catch (failure) {
      // The outcome could not be committed (a full disk): the message below and the exit status still tell it.
      console.error(failure);
    }
    send({ type: 'ended', exit, ...(error && { error }) });
    ports.exit(exit === 'completed' ? 0 : exit === 'stopped' ? EXIT_STOPPED : EXIT_FAILED);
  };

  // Without a host there is nobody to ask for more: save and leave (WP7).
  const leave = (): void => control.command({ type: 'stop', request: 0, keep: true }, () => undefined);
  if (!start.detached) ports.link.onClose(leave);
  ports.onTerminate(leave);

  try {
    const { db } = runFiles(start.runDir);
    writer = openRunWriter(db, { pid: process.pid });
    const reader = openRunReader(db);
    const stepsBefore = reader.marks().lastStep;
    reader.close();
    const observer = createObserver(start, writer, ports.link, send, {
      stepsBefore,
      onStep: (step) => {
        lastStep = step;
      },
      progress: (phase, step, microBatch) => heartbeat.progress(phase, step, microBatch),
      prepared: () => control.prepared(),
    });
    control.attach({
      paused: (paused) => {
        observer.event(paused ? 'paused' : 'resumed', lastStep, paused ? 'Paused.' : 'Training goes on.');
        observer.progress(paused ? 'paused' : 'training', lastStep, 0);
        send({ type: 'state', state: paused ? 'paused' : 'running' });
      },
      // Nothing was measured yet, so there is nothing to wait for.
      stoppedBeforePrepared: () => end('stopped'),
    });
    const train = await ports.loadTrainer();
    const outcome = await train({
      spec: start.spec,
      runDir: path.resolve(start.runDir),
      cacheDir: start.cacheDir,
      resume: start.resume,
      observer,
      control,
    });
    lastStep = outcome.step;
    end(outcome.state);
  } catch (error) {
    if (!(error instanceof UserError)) console.error(error);
    end('failed', toErrorInfo(error));
  }
}

interface ObserverHooks {
  /** Steps that an earlier start of the run committed. */
  readonly stepsBefore: number;
  onStep(step: number): void;
  progress: TrainingObserver['progress'];
  prepared(): void;
}

/** Commits each fact and only then announces how far the facts go (WP4, WP5). */
function createObserver(
  start: Start,
  writer: RunWriter,
  link: Link,
  send: (message: WorkerToHost) => void,
  hooks: ObserverHooks,
): TrainingObserver {
  let lastStep = 0;
  let lastEvent = 0;
  let known: RunFacts | undefined;
  const notices = coalesce<WorkerToHost>(NOTICE_INTERVAL_MS, (notice) => {
    if (link.congested) return false;
    send(notice);
    return true;
  });
  const announce = (): void => notices.push({ type: 'advanced', runId: start.runId, lastStep, lastEvent });
  const event: TrainingObserver['event'] = (kind, step, message) => {
    lastEvent = writer.event(kind, step, message);
    announce();
  };

  return {
    prepared: (facts, resumedFromStep) => {
      known = facts;
      writer.facts(facts);
      lastStep = resumedFromStep ?? 0;
      // A run that failed before its first checkpoint begins again at the beginning.
      if (resumedFromStep !== null || hooks.stepsBefore > 0) lastEvent = writer.resetTo(resumedFromStep);
      if (resumedFromStep === null) {
        event(
          'started',
          0,
          `Training starts: ${facts.totalSteps} steps of ${methodLabel(start.spec.method)}.`,
        );
      }
      hooks.onStep(lastStep);
      hooks.prepared();
      send({ type: 'started', facts, step: lastStep });
      announce();
    },
    placed: (placement) => {
      if (known !== undefined) writer.facts({ ...known, placement });
    },
    step: (metrics, routing) => {
      writer.step(metrics, routing);
      lastStep = metrics.step;
      hooks.onStep(lastStep);
      announce();
    },
    evaluation: (evaluation) => {
      lastEvent = writer.evaluation(evaluation);
      announce();
    },
    checkpoint: (info) => {
      lastEvent = writer.checkpoint(info);
      announce();
    },
    event,
    progress: (phase, step, microBatch) => hooks.progress(phase, step, microBatch),
  };
}
