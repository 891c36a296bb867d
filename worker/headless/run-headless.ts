/** Trains one run from a terminal or a script, in a worker process of its own, and tells what happens line by line. */
import { UserError } from '#core/contract/errors.ts';
import { hostApi } from '#core/contract/host-api.ts';
import type { Result } from '#core/contract/result.ts';
import type { RunDetail, Series as SeriesSchema } from '#core/contract/run.ts';
import type { ProviderChoice, RunSpec } from '#core/contract/run-spec.ts';
import type { RunState } from '#core/contract/run-state.ts';
import type { Host } from '#core/host/index.ts';
import type { z } from 'zod';
import { composeHost, type ComposeOptions } from './compose-host.ts';

type Series = z.infer<typeof SeriesSchema>;

/** One line of `train --json`. */
export type TrainLine =
  | {
      readonly type: 'started';
      readonly runId: string;
      readonly dir: string;
      readonly trainableParameters: number;
      readonly totalParameters: number;
      readonly totalSteps: number;
    }
  | {
      readonly type: 'step';
      readonly step: number;
      readonly loss: number;
      readonly learningRate: number;
      readonly gradNorm: number;
      readonly tokens: number;
      readonly tokensPerSecond: number;
      readonly rssMB: number;
    }
  | {
      readonly type: 'evaluation';
      readonly step: number;
      readonly loss: number;
      readonly trainedTokens: number;
      /** On the general data, where the run has some. */
      readonly general?: { readonly loss: number; readonly trainedTokens: number } | undefined;
    }
  | { readonly type: 'checkpoint'; readonly step: number; readonly path: string }
  | {
      readonly type: 'ended';
      readonly state: RunState;
      readonly step: number;
      readonly reason: string | null;
    };

/** What to train: a new run, or one that ended before. */
export type HeadlessTask =
  | { readonly spec: RunSpec; readonly runDir?: string | undefined }
  | { readonly resumeDir: string; readonly provider?: ProviderChoice | undefined };

/** A run in progress. */
export interface HeadlessRun {
  readonly id: string;
  /** The run when it has ended; its state and `error` say how. The data folder is closed by then. */
  readonly ended: Promise<RunDetail>;
  /** For Ctrl-C: the first call stops with a checkpoint after the current micro-batch, the second ends at once. */
  interrupt(): void;
}

/**
 * Starts training.
 * @param task `spec` has absolute paths (`resolveSpecPaths`).
 * @param onLine called for every committed fact, in order.
 * @throws UserError `run/exists`, `run/no-spec`, `run/in-use` and those of `composeHost`.
 */
export function runHeadless(
  task: HeadlessTask,
  options: ComposeOptions,
  onLine: (line: TrainLine) => void,
): HeadlessRun {
  const host = composeHost({ ...options, role: 'single' });
  const report = createReporter(host, onLine);
  let id: string;
  try {
    id =
      'spec' in task ? host.startRun(task.spec, task.runDir) : host.resumeRun(task.resumeDir, task.provider);
  } catch (error) {
    void host.close();
    throw error;
  }
  if ('resumeDir' in task) report.skipPast(id);
  host.onPush((channel) => {
    if (channel === 'runs.advanced') report.readOn(id);
  });
  let interrupted = false;
  return {
    id,
    ended: host.runEnded(id).then(async (detail) => {
      await report.finish(id, detail);
      await host.close();
      return detail;
    }),
    interrupt: () => {
      if (interrupted) {
        host.killRun(id);
        return;
      }
      interrupted = true;
      // A run that ended meanwhile has nothing to stop.
      void host.call('runs.stop', { id, keep: true });
    },
  };
}

/** Reads a run's facts on from where it is and puts them into lines. */
function createReporter(host: Host, onLine: (line: TrainLine) => void) {
  let afterStep = -1;
  let afterEvent = 0;
  let started = false;
  let reading: Promise<void> = Promise.resolve();
  /** Steps whose evaluation was told: it may be committed in the same breath as its step, or later. */
  const evaluated = new Set<number>();

  const get = async (id: string): Promise<RunDetail> =>
    hostApi.runs.get.output.parse(valueOf(await host.call('runs.get', { id })));
  const seriesOf = async (id: string): Promise<Series> =>
    hostApi.runs.series.output.parse(valueOf(await host.call('runs.series', { id, afterStep, afterEvent })));

  /** Passes over what an earlier start of the run did. */
  const skipPast = async (id: string): Promise<void> => {
    const { steps, evaluations, events } = await seriesOf(id);
    afterStep = steps.at(-1)?.step ?? afterStep;
    afterEvent = events.at(-1)?.id ?? afterEvent;
    for (const { step } of evaluations) evaluated.add(step);
  };

  const read = async (id: string): Promise<void> => {
    const series = await seriesOf(id);
    // Read after the events, so that it has every checkpoint they tell of.
    const detail = await get(id);
    const begins = series.events.some(({ kind }) => kind === 'started' || kind === 'resumed');
    if (!started && begins && detail.facts) {
      started = true;
      const { trainableParameters, totalParameters, totalSteps } = detail.facts;
      onLine({
        type: 'started',
        runId: id,
        dir: host.runDir(id),
        trainableParameters,
        totalParameters,
        totalSteps,
      });
    }
    const backTo = series.events.findLast(({ kind }) => kind === 'resumed')?.step ?? Infinity;
    const from = Math.min(afterStep, backTo);
    for (const step of evaluated) if (step > backTo) evaluated.delete(step);
    for (const line of linesOf(series, detail, from, evaluated)) onLine(line);
    afterStep = Math.max(from, series.steps.at(-1)?.step ?? -1);
    afterEvent = series.events.at(-1)?.id ?? afterEvent;
  };

  const afterLast = (work: () => Promise<void>): void => {
    reading = reading.then(work);
    // A failure is thrown where the end is awaited.
    reading.catch(() => undefined);
  };

  return {
    skipPast: (id: string): void => afterLast(() => skipPast(id)),
    readOn: (id: string): void => afterLast(() => read(id)),
    finish: async (id: string, detail: RunDetail): Promise<void> => {
      afterLast(() => read(id));
      await reading;
      onLine({ type: 'ended', state: detail.state, step: detail.lastStep, reason: detail.reason ?? null });
    },
  };
}

/** What was committed after step `from`, in the order of steps: the step, its evaluation, its checkpoint. */
function linesOf(series: Series, detail: RunDetail, from: number, evaluated: Set<number>): TrainLine[] {
  const lines: { readonly order: number; readonly line: TrainLine }[] = [];
  for (const { step, loss, learningRate, gradNorm, tokens, tokensPerSecond, rssMB } of series.steps) {
    if (step <= from) continue;
    const line = {
      type: 'step',
      step,
      loss,
      learningRate,
      gradNorm,
      tokens,
      tokensPerSecond,
      rssMB,
    } as const;
    lines.push({ order: 3 * step, line });
  }
  for (const evaluation of series.evaluations) {
    if (evaluation.step < from || evaluated.has(evaluation.step)) continue;
    evaluated.add(evaluation.step);
    lines.push({ order: 3 * evaluation.step + 1, line: { type: 'evaluation', ...evaluation } });
  }
  const paths = new Map(detail.checkpoints.map(({ step, path }) => [step, path]));
  for (const { kind, step } of series.events) {
    // An older checkpoint may have made room for a newer one already.
    const path = kind === 'checkpoint' ? paths.get(step) : undefined;
    if (path !== undefined) lines.push({ order: 3 * step + 2, line: { type: 'checkpoint', step, path } });
  }
  return lines.sort((a, b) => a.order - b.order).map(({ line }) => line);
}

function valueOf(result: Result<unknown>): unknown {
  if (!result.ok) throw new UserError(result.error.code, result.error.message, result.error.hint);
  return result.value;
}
