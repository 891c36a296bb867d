/** What the trainer needs from the process that hosts it, and what it tells that process. */
import type { CheckpointInfo } from '#core/contract/checkpoint.ts';
import type { Evaluation, RoutingRecord, RunEventRecord, StepMetrics } from '#core/contract/metrics.ts';
import type { Placement, RunFacts } from '#core/contract/run.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import type { Heartbeat } from '#core/contract/worker-protocol.ts';
import type { AdapterProbe } from '#worker/runtime/index.ts';

/** What to do at a boundary between micro-batches. `discard` stops without saving what came after the last checkpoint. */
export type TrainingCommand = 'continue' | 'checkpoint' | 'stop' | 'discard';

/** Asked between micro-batches (WP3). While the run is paused the promise stays open. */
export interface TrainingControl {
  next(): TrainingCommand | Promise<TrainingCommand>;
}

/**
 * Receives facts in order. Each call returns only when the fact is durable (WP4); an error it throws (a full disk)
 * ends the run.
 */
export interface TrainingObserver {
  prepared(facts: RunFacts, resumedFromStep: number | null): void;
  /** After the first step on a graphics adapter. */
  placed(placement: Placement): void;
  step(metrics: StepMetrics, routing: RoutingRecord | null): void;
  evaluation(evaluation: Evaluation): void;
  checkpoint(info: CheckpointInfo): void;
  event(kind: RunEventRecord['kind'], step: number, message: string): void;
  /** Liveness for the heartbeat; cheap, called at every micro-batch. */
  progress(phase: Heartbeat['phase'], step: number, microBatch: number): void;
}

/** One run, new or resumed. Paths in `spec` are absolute. */
export interface TrainingRun {
  readonly spec: RunSpec;
  readonly runDir: string;
  readonly cacheDir: string;
  /** Continue from the last valid checkpoint of `runDir`; an error when there is none. */
  readonly resume: boolean;
  /** How to look for a graphics adapter; absent: training stays on the CPU. */
  readonly probe?: AdapterProbe;
  readonly observer: TrainingObserver;
  readonly control: TrainingControl;
}

/** How a run ended when nothing went wrong; failures are thrown. */
export interface TrainingOutcome {
  readonly state: 'completed' | 'stopped';
  readonly step: number;
}
