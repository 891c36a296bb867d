/**
 * A worker process for tests of the protocol: the real session around a trainer that computes nothing.
 * `spec.method.options` say what it does; everything is counted in micro-batches of `stepMs` milliseconds.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '#core/contract/errors.ts';
import type { TrainingOutcome, TrainingRun } from '#worker/train/index.ts';
import { runWorkerProcess } from './worker-process.ts';
import path from 'node:path';

interface FakeOptions {
  /** Milliseconds a micro-batch takes; the event loop is free meanwhile. */
  readonly stepMs?: number;
  /** At this step, write the empty file `blocked` into the run's directory, then block the thread for `blockMs`. */
  readonly blockAt?: number;
  readonly blockMs?: number;
  /** At this step, throw a UserError. */
  readonly failAt?: number;
  /** At this step, break an invariant. */
  readonly crashAt?: number;
  /** At this step, use up the heap. */
  readonly exhaustAt?: number;
  /** Milliseconds of preparation. */
  readonly prepareMs?: number;
}

async function train(run: TrainingRun): Promise<TrainingOutcome> {
  const options = run.spec.method.options as FakeOptions;
  const { observer, control, spec } = run;
  const totalSteps = spec.train.steps ?? 10;
  const folder = path.join(run.runDir, 'checkpoints');
  mkdirSync(folder, { recursive: true });
  const saved = readdirSync(folder).map(Number);
  if (run.resume && saved.length === 0) {
    throw new UserError('checkpoint/none', `${folder}: no checkpoint to resume from`, 'Start the run anew.');
  }
  const from = run.resume ? Math.max(...saved) : null;
  observer.progress('preparing', 0, 0);
  await sleep(options.prepareMs ?? 0);
  observer.prepared(
    {
      family: 'fake',
      layers: 2,
      moeLayers: 1,
      moeLayerIndices: [1],
      experts: 4,
      expertsPerToken: 2,
      trainableParameters: 10,
      totalParameters: 20,
      totalSteps,
      trainRows: 8,
      validationRows: 0,
      hashes: { model: 'm', data: 'd', tokenizer: 't', code: 'c' },
      provider: 'cpu',
      threads: 1,
      estimatedMemoryMB: 1,
    },
    from,
  );
  const save = (step: number): void => {
    observer.progress('checkpointing', step, 0);
    const file = path.join(folder, String(step));
    mkdirSync(file, { recursive: true });
    writeFileSync(path.join(file, 'state'), String(step));
    observer.checkpoint({ step, path: file, bytes: 1, wallMs: Date.now() });
  };

  for (let step = (from ?? 0) + 1; step <= totalSteps; step++) {
    for (let microBatch = 0; microBatch < spec.train.gradientAccumulation; microBatch++) {
      observer.progress('training', step, microBatch);
      const command = await control.next();
      if (command === 'checkpoint') save(step - 1);
      if (command === 'stop') save(step - 1);
      if (command === 'stop' || command === 'discard') return { state: 'stopped', step: step - 1 };
      if (options.stepMs !== undefined) await sleep(options.stepMs);
      if (step === options.blockAt) {
        // A command that is sent after this can no longer be taken before the block.
        writeFileSync(path.join(run.runDir, 'blocked'), '');
        const until = Date.now() + (options.blockMs ?? 0);
        while (Date.now() < until);
      }
    }
    if (step === options.failAt) {
      throw new UserError('train/non-finite', `step ${step}: the loss is not finite`, 'Lower the rate.');
    }
    if (step === options.crashAt) throw new TypeError('a broken invariant');
    if (step === options.exhaustAt) {
      const hoard: unknown[] = [];
      for (;;) hoard.push(Array.from({ length: 1000 }, () => ({ step })));
    }
    observer.step(
      {
        step,
        wallMs: Date.now(),
        loss: 1 / step,
        learningRate: spec.train.learningRate,
        gradNorm: 1,
        tokens: 16,
        trainedTokens: 8,
        tokensPerSecond: 160,
        rssMB: process.memoryUsage.rss() / 1e6,
      },
      { step, counts_LE: new Uint32Array([8, 8, 8, 8]) },
    );
    if (step === 1) observer.placed({ onAdapter: 7, sizesOnCpu: 1, leftToCpu: [] });
    if (step % spec.checkpoint.everySteps === 0) save(step);
  }
  return { state: 'completed', step: totalSteps };
}

runWorkerProcess(() => Promise.resolve(train));
