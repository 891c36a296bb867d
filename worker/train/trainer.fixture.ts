/** Short runs of the trainer on the bundled model, and what tests read of them. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import type { Evaluation, RoutingRecord, StepMetrics } from '#core/contract/metrics.ts';
import {
  parseRunSpec,
  type FrozenExperts,
  type MomentFormat,
  type Packing,
  type RunSpecInput,
} from '#core/contract/run-spec.ts';
import type { RunFacts } from '#core/contract/run.ts';
import { openLatestCheckpoint } from '#worker/checkpoint/index.ts';
import type { AdapterProbe } from '#worker/runtime/index.ts';
import { train } from './train.ts';
import type { TrainingCommand, TrainingOutcome } from './training-run.ts';

/** The bundled model and data. */
export const sample = join(import.meta.dirname, '../../resources/sample');
let work = '';
let data = '';

/** A file in the working folder of the test file, or the folder of a run by its name. */
export const inWork = (name: string): string => join(work, name);

/** Gives a test file a working folder, with 60 rows of the bundled data in it. */
export function workingFolder(): void {
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'condenser-train-'));
    data = join(work, 'rows.jsonl');
    const rows = readFileSync(join(sample, 'data/word-problems.jsonl'), 'utf8').split('\n').slice(0, 60);
    writeFileSync(data, `${rows.join('\n')}\n`);
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));
}

interface Recorded {
  readonly outcome: TrainingOutcome;
  readonly steps: StepMetrics[];
  readonly routing: RoutingRecord[];
  readonly evaluations: Evaluation[];
  readonly events: string[];
  /** One. */
  readonly facts: RunFacts[];
}

/** A method as a run document names it. */
export type Method = RunSpecInput['method'];

/** Trains 6 steps of 2 micro-batches. `command` is asked before each micro-batch, which count from 0. */
export async function run(
  name: string,
  options: {
    method?: Method;
    resume?: boolean;
    learningRate?: number;
    seed?: number;
    model?: string;
    rows?: string;
    moments?: MomentFormat;
    packing?: Packing;
    frozenExperts?: FrozenExperts;
    engine?: RunSpecInput['engine'];
    probe?: AdapterProbe;
    command?: (asked: number) => TrainingCommand;
  } = {},
): Promise<Recorded> {
  const runDir = join(work, name);
  mkdirSync(runDir, { recursive: true });
  const spec = parseRunSpec({
    model: { path: options.model ?? join(sample, 'sample-moe') },
    data: {
      train: [{ path: options.rows ?? data }],
      validation: { fraction: 0.1 },
      maxLength: 128,
      ...(options.packing !== undefined && { packing: options.packing }),
    },
    method: options.method ?? { name: 'full' },
    train: {
      steps: 6,
      microBatch: 2,
      gradientAccumulation: 2,
      learningRate: options.learningRate ?? 1e-4,
      warmupRatio: 0,
      ...(options.seed !== undefined && { seed: options.seed }),
      ...(options.moments && { optimizer: { moments: options.moments } }),
    },
    evaluate: { everySteps: 3 },
    checkpoint: { everySteps: 2, keep: 2 },
    engine: {
      threads: 1,
      ...(options.frozenExperts && { frozenExperts: options.frozenExperts }),
      ...options.engine,
    },
  });
  const recorded = {
    steps: [] as StepMetrics[],
    routing: [] as RoutingRecord[],
    evaluations: [] as Evaluation[],
    events: [] as string[],
    facts: [] as RunFacts[],
  };
  let asked = 0;
  const outcome = await train({
    spec,
    runDir,
    cacheDir: join(work, 'cache'),
    resume: options.resume ?? false,
    ...(options.probe && { probe: options.probe }),
    control: { next: () => options.command?.(asked++) ?? 'continue' },
    observer: {
      prepared: (facts) => void recorded.facts.push(facts),
      step: (metrics, routing) => {
        recorded.steps.push(metrics);
        if (routing) recorded.routing.push(routing);
      },
      evaluation: (evaluation) => recorded.evaluations.push(evaluation),
      placed: () => undefined,
      checkpoint: () => undefined,
      event: (kind, _step, message) => recorded.events.push(`${kind}: ${message}`),
      progress: () => undefined,
    },
  });
  return { outcome, ...recorded };
}

/** A file of the first eight rows. */
export function eightRows(): string {
  const rows = join(work, 'eight.jsonl');
  writeFileSync(rows, readFileSync(data, 'utf8').split('\n').slice(0, 8).join('\n'));
  return rows;
}

/** Hash of weights and moments in the newest checkpoint. */
export function stateHash(name: string): string {
  const checkpoint = openLatestCheckpoint(join(work, name));
  expect(checkpoint).toBeDefined();
  checkpoint?.tensors.close();
  return createHash('sha256')
    .update(readFileSync(join(checkpoint?.info.path ?? '', 'tensors.safetensors')))
    .digest('hex');
}

/** The user error that `running` fails with. */
export async function failure(running: Promise<unknown>): Promise<UserError> {
  const error: unknown = await running.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
}

/** Condensers, chosen after a phase without them. */
export const condensers: Method = {
  name: 'expert-condenser',
  options: { phase: 'both', biasSpeed: 0.0625, condenserBiasSpeed: 0.03125 },
};

/** Low-rank adapters. */
export const lora: Method = { name: 'lora', options: { rank: 4, alpha: 8 } };

/** Default outputs that take part in the value. */
export const defaults: Method = { name: 'default-moe', options: { defaultsIn: 'value' } };

/** Sub-matrices, chosen in a warm-up of two steps. */
export const smt: Method = {
  name: 'smt',
  options: { warmUpSteps: 2, blockSize: 16, attentionShare: 0.02, mlpShare: 0.03 },
};

/** A router that is frozen after half of the steps. */
export const stable: Method = { name: 'stablemoe', options: { stageSplit: 0.5 } };

/** The experts that a sample uses most. */
export const esft: Method = { name: 'esft', options: { share: 0.3, sampleTokens: 500 } };
