/** The worker protocol, WP7 to WP9: signs of life, and how a worker ends or begins again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { isRunLocked } from '#core/store/index.ts';
import {
  WorkerUnderTest,
  freshRunEachTest,
  heartbeat,
  isRunning,
  readRun,
  runDb,
  startHostProcess,
  until,
} from './session.fixture.ts';

freshRunEachTest();

test('WP7: the thread ends a blocked worker whose host is gone', async () => {
  const host = startHostProcess({ blockAt: 3, blockMs: 120_000 });
  await until('step 3', () => heartbeat()?.step === 3);
  const pid = heartbeat()?.pid ?? 0;
  expect(isRunning(pid)).toBe(true);
  host.kill('SIGKILL');
  // Ten seconds to leave by itself.
  await until('the end', () => !isRunning(pid), 20_000);
  expect(isRunLocked(runDb())).toBe(false);
  expect(readRun((reader) => [reader.marks().lastStep, reader.outcome()])).toEqual([2, null]);
});

test('WP7: a detached worker outlives a killed host', async () => {
  // Longer than two heartbeats, so that one is written between the first step and the end.
  const spec = { train: { steps: 150, gradientAccumulation: 1 } };
  const host = startHostProcess({ stepMs: 20 }, { detached: true, spec });
  await until('a step', () => (heartbeat()?.step ?? 0) > 0);
  host.kill('SIGKILL');
  await until('the end', () => readRun((reader) => reader.outcome()) !== null);
  expect(readRun((reader) => [reader.marks().lastStep, reader.outcome()])).toEqual([
    150,
    { exit: 'completed' },
  ]);
});

test('WP7: the heartbeat goes on while the main thread is blocked', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ blockAt: 1, blockMs: 4000 });
  await worker.until('training', () => heartbeat()?.phase === 'training');
  const first = heartbeat();
  expect(first).toMatchObject({ pid: worker.child.pid, phase: 'training', step: 1, microBatch: 0 });
  await sleep(2500);
  const second = heartbeat();
  expect(second).toMatchObject({ phase: 'training', step: 1, microBatch: 0 });
  expect((second?.wallMs ?? 0) - (first?.wallMs ?? 0)).toBeGreaterThan(1000);
});

test('WP7: a worker whose host disconnects saves and ends', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 10 }, { spec: { train: { steps: 100_000, gradientAccumulation: 1 } } });
  await worker.until('a step', () => worker.of('advanced').some(({ lastStep }) => lastStep > 0));
  worker.child.disconnect();
  expect(await worker.exited).toEqual({ code: 3, signal: null });
  readRun((reader) => {
    expect(reader.outcome()).toEqual({ exit: 'stopped' });
    expect(reader.checkpoints().at(-1)?.step).toBe(reader.marks().lastStep);
  });
});

test('WP7: a detached worker goes on without its host and completes', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 5 }, { detached: true });
  await worker.until('started', () => worker.of('started').length > 0);
  worker.child.disconnect();
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(readRun((reader) => reader.marks().lastStep)).toBe(20);
});

test('WP7: SIGTERM is a stop with a checkpoint; SIGINT is left to the host', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 10 }, { spec: { train: { steps: 100_000, gradientAccumulation: 1 } } });
  await worker.until('a step', () => worker.of('advanced').some(({ lastStep }) => lastStep > 0));
  worker.child.kill('SIGINT');
  await sleep(200);
  expect(worker.of('ended')).toEqual([]);
  worker.child.kill('SIGTERM');
  expect(await worker.exited).toEqual({ code: 3, signal: null });
  expect(readRun((reader) => reader.checkpoints().length)).toBe(1);
});

test('WP9: kill -9 in the middle of a step loses no committed step, and the run resumes from its checkpoint', async () => {
  const worker = new WorkerUnderTest();
  const spec = { checkpoint: { everySteps: 4 } };
  await worker.start({ stepMs: 5, blockAt: 7, blockMs: 60_000 }, { spec });
  await worker.until('step 6', () => heartbeat()?.step === 7);
  worker.child.kill('SIGKILL');
  expect(await worker.exited).toEqual({ code: null, signal: 'SIGKILL' });
  readRun((reader) => {
    expect(reader.marks().lastStep).toBe(6);
    expect(reader.outcome()).toBe(null);
  });
  expect(isRunLocked(runDb())).toBe(false);

  const second = new WorkerUnderTest();
  await second.start({ stepMs: 1 }, { resume: true, spec });
  expect(await second.exited).toEqual({ code: 0, signal: null });
  expect(second.of('started')[0]?.step).toBe(4);
  readRun((reader) => {
    expect(reader.series().steps.map(({ step }) => step)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    expect(reader.outcome()).toEqual({ exit: 'completed' });
  });
});

test('WP9: a failure is committed and told, with status 1', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ failAt: 3 });
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  const error = {
    code: 'train/non-finite',
    message: 'step 3: the loss is not finite',
    hint: 'Lower the rate.',
  };
  expect(worker.of('ended')).toEqual([{ type: 'ended', exit: 'failed', error }]);
  expect(readRun((reader) => reader.outcome())).toEqual({ exit: 'failed', error });
});

test('a run that starts anew after one without checkpoint replaces its steps', async () => {
  const first = new WorkerUnderTest();
  await first.start({ failAt: 3 });
  await first.exited;
  expect(readRun((reader) => reader.marks().lastStep)).toBe(2);
  const second = new WorkerUnderTest();
  await second.start({});
  expect(await second.exited).toEqual({ code: 0, signal: null });
  const { steps, events } = readRun((reader) => reader.series());
  expect(steps.length).toBe(20);
  expect(events.map(({ message }) => message).filter((message) => !message.startsWith('Checkpoint'))).toEqual(
    [
      'Training starts: 20 steps of fake.',
      'Run failed: step 3: the loss is not finite.',
      'Begins again at the start: there is no checkpoint. Steps 1 to 2 are trained again.',
      'Training starts: 20 steps of fake.',
      'Run completed.',
    ],
  );
});
