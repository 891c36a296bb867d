/** The worker protocol, WP1 to WP6: what host and worker tell each other while a run goes on. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { PROTOCOL_VERSION, WorkerToHost } from '#core/contract/worker-protocol.ts';
import { openRunWriter } from '#core/store/index.ts';
import {
  WorkerUnderTest,
  freshRunEachTest,
  heartbeat,
  isBlocked,
  readRun,
  runDb,
  startHostProcess,
  startMessage,
  until,
} from './session.fixture.ts';

freshRunEachTest();

test('WP1: a worker answers hello with ready and its version', async () => {
  const worker = new WorkerUnderTest();
  worker.send({ type: 'hello', version: PROTOCOL_VERSION });
  await worker.until('ready', () => worker.of('ready').length > 0);
  expect(worker.of('ready')).toEqual([{ type: 'ready', version: PROTOCOL_VERSION, pid: worker.child.pid }]);
});

test('WP1: another version ends the worker with status 64', async () => {
  const worker = new WorkerUnderTest();
  worker.send({ type: 'hello', version: PROTOCOL_VERSION + 1 });
  expect(await worker.exited).toEqual({ code: 64, signal: null });
  expect(worker.messages).toEqual([]);
});

test('WP1: anything before hello ends the worker with status 64', async () => {
  const worker = new WorkerUnderTest();
  worker.send(startMessage({}));
  expect(await worker.exited).toEqual({ code: 64, signal: null });
});

test('WP2: one run per process: it ends with its run and refuses a second one', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 20 });
  await worker.until('started', () => worker.of('started').length > 0);
  worker.send(startMessage({}));
  await worker.until('reply', () => worker.of('reply').length > 0);
  expect(worker.of('reply')).toMatchObject([{ request: 0, ok: false, error: { code: 'worker/busy' } }]);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.of('ended')).toEqual([{ type: 'ended', exit: 'completed' }]);
});

test('WP2: a second writer of the same run is refused and leaves the run alone', async () => {
  const writer = openRunWriter(runDb(), { pid: process.pid });
  try {
    const worker = new WorkerUnderTest();
    await worker.start({});
    expect(await worker.exited).toEqual({ code: 1, signal: null });
    expect(worker.of('ended')).toMatchObject([{ exit: 'failed', error: { code: 'run/in-use' } }]);
    expect(readRun((reader) => reader.outcome())).toBe(null);
  } finally {
    writer.close();
  }
});

test('WP3: a command is answered at the next micro-batch, not in the middle of one', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ blockAt: 2, blockMs: 4000 });
  await worker.until('the block', isBlocked);
  worker.send({ type: 'checkpoint', request: 7 });
  await sleep(500);
  expect(worker.of('reply')).toEqual([]);
  await worker.until('the reply', () => worker.of('reply').length > 0);
  expect(worker.of('reply')).toEqual([{ type: 'reply', request: 7, ok: true }]);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(readRun((reader) => reader.checkpoints().map(({ step }) => step))).toContain(2);
});

test('WP3: pause holds the run between micro-batches, resume goes on, stop saves', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 10 }, { spec: { train: { steps: 500, gradientAccumulation: 2 } } });
  await worker.until('a step', () => worker.of('advanced').some(({ lastStep }) => lastStep > 0));
  worker.send({ type: 'pause', request: 1 });
  await worker.until('paused', () => worker.of('state').length === 1);
  const held = readRun((reader) => reader.marks().lastStep);
  await sleep(300);
  expect(readRun((reader) => reader.marks().lastStep)).toBe(held);
  worker.send({ type: 'resume', request: 2 });
  await worker.until('going on', () => worker.of('state').length === 2);
  expect(worker.of('state').map(({ state }) => state)).toEqual(['paused', 'running']);
  await worker.until('more steps', () => readRun((reader) => reader.marks().lastStep) > held);
  worker.send({ type: 'stop', request: 3, keep: true });
  expect(await worker.exited).toEqual({ code: 3, signal: null });
  expect(worker.of('reply').map(({ request, ok }) => [request, ok])).toEqual([
    [1, true],
    [2, true],
    [3, true],
  ]);
  readRun((reader) => {
    expect(reader.outcome()).toEqual({ exit: 'stopped' });
    expect(reader.checkpoints().at(-1)?.step).toBe(reader.marks().lastStep);
    const kinds = reader.series().events.map(({ kind }) => kind);
    expect(kinds).toEqual(['started', 'paused', 'resumed', 'checkpoint', 'ended']);
  });
});

test('WP3: stop without keeping, in a pause, saves nothing', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 10 });
  worker.send({ type: 'pause', request: 1 });
  await worker.until('paused', () => worker.of('state').length === 1);
  worker.send({ type: 'stop', request: 2, keep: false });
  expect(await worker.exited).toEqual({ code: 3, signal: null });
  expect(readRun((reader) => reader.checkpoints())).toEqual([]);
});

test('WP3: a stop while the run is prepared does not wait for a micro-batch', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ prepareMs: 60_000 });
  await worker.until('the heartbeat', () => heartbeat() !== undefined);
  worker.send({ type: 'stop', request: 1, keep: true });
  expect(await worker.exited).toEqual({ code: 3, signal: null });
  expect(worker.of('reply')).toEqual([{ type: 'reply', request: 1, ok: true }]);
});

test('WP3: a command without a run is refused', async () => {
  const worker = new WorkerUnderTest();
  worker.send({ type: 'hello', version: PROTOCOL_VERSION });
  worker.send({ type: 'pause', request: 1 });
  await worker.until('the reply', () => worker.of('reply').length > 0);
  expect(worker.of('reply')).toMatchObject([{ request: 1, ok: false, error: { code: 'worker/no-run' } }]);
});

test('WP4: what a notice announces is committed', async () => {
  const worker = new WorkerUnderTest();
  const behind: string[] = [];
  let checked = 0;
  worker.child.on('message', (raw) => {
    const message = WorkerToHost.parse(raw);
    if (message.type !== 'advanced') return;
    const marks = readRun((reader) => reader.marks());
    checked++;
    if (marks.lastStep < message.lastStep || marks.lastEvent < message.lastEvent) {
      behind.push(`${JSON.stringify(message)} before ${JSON.stringify(marks)}`);
    }
  });
  await worker.start({ stepMs: 15 }, { spec: { train: { steps: 60, gradientAccumulation: 1 } } });
  await worker.exited;
  expect(checked).toBeGreaterThan(5);
  expect(behind).toEqual([]);
  // Where operators are is known after the first step, and joins the facts.
  expect(readRun((reader) => reader.facts())).toMatchObject({
    family: 'fake',
    placement: { onAdapter: 7, sizesOnCpu: 1, leftToCpu: [] },
  });
});

test('WP5: notices carry high-water marks only, at most ten a second', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 1 }, { spec: { train: { steps: 400, gradientAccumulation: 1 } } });
  await worker.exited;
  const notices = worker.messages.filter(({ message }) => message.type === 'advanced');
  const seconds = ((notices.at(-1)?.atMs ?? 0) - (notices[0]?.atMs ?? 0)) / 1000;
  expect(notices.length).toBeGreaterThan(2);
  expect(notices.length).toBeLessThanOrEqual(seconds * 10 + 2);
  for (const { message } of notices) {
    expect(Object.keys(message).sort()).toEqual(['lastEvent', 'lastStep', 'runId', 'type']);
  }
  expect(readRun((reader) => reader.series().steps.length)).toBe(400);
});

test('WP6: a host that no longer runs its code does not hold training up', async () => {
  const host = startHostProcess({ stepMs: 1 }, { spec: { train: { steps: 300, gradientAccumulation: 1 } } });
  await until('a step', () => (heartbeat()?.step ?? 0) > 0);
  host.kill('SIGSTOP');
  await until('the end', () => readRun((reader) => reader.outcome()) !== null);
  expect(readRun((reader) => reader.outcome())).toEqual({ exit: 'completed' });
});

test('an idle worker stays below 100 MB', async () => {
  const worker = new WorkerUnderTest('main.ts');
  worker.send({ type: 'hello', version: PROTOCOL_VERSION });
  await worker.until('ready', () => worker.of('ready').length > 0);
  if (process.platform !== 'linux') return;
  const status = readFileSync(`/proc/${worker.child.pid}/status`, 'utf8');
  const rssMB = (Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024) / 1e6;
  expect(rssMB).toBeLessThan(100);
});
