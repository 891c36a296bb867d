/** The worker protocol with real processes: a fake trainer in the real session (`fake-worker.fixture.ts`). */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseRunSpec, type RunSpecInput } from '#core/contract/run-spec.ts';
import {
  Heartbeat,
  type HostToWorker,
  PROTOCOL_VERSION,
  WorkerToHost,
} from '#core/contract/worker-protocol.ts';
import { isRunLocked, openRunReader, openRunWriter, runFiles } from '#core/store/index.ts';

let runDir: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  runDir = mkdtempSync(path.join(os.tmpdir(), 'condenser-session-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(runDir, { recursive: true, force: true, maxRetries: 5 });
});

type Message = WorkerToHost;

/** A worker process, and what it sent so far. */
class WorkerUnderTest {
  readonly child: ChildProcess;
  readonly messages: { readonly message: Message; readonly atMs: number }[] = [];
  readonly exited: Promise<{ code: number | null; signal: string | null }>;

  constructor(entry = 'fake-worker.fixture.ts') {
    this.child = spawn(process.execPath, [path.join(import.meta.dirname, entry)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    children.push(this.child);
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.child.on('message', (raw) =>
      this.messages.push({ message: WorkerToHost.parse(raw), atMs: Date.now() }),
    );
  }

  send(message: HostToWorker): void {
    this.child.send(message);
  }

  of<T extends Message['type']>(type: T): Extract<Message, { type: T }>[] {
    return this.messages
      .map(({ message }) => message)
      .filter((message): message is Extract<Message, { type: T }> => message.type === type);
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    await until(`${what} (so far ${JSON.stringify(this.messages)})`, condition);
  }

  /** `hello`, and `start` when it is `ready`. */
  async start(options: Record<string, number>, extra: StartExtra = {}): Promise<void> {
    this.send({ type: 'hello', version: PROTOCOL_VERSION });
    await this.until('ready', () => this.of('ready').length > 0);
    this.send(startMessage(options, extra));
  }
}

interface StartExtra {
  readonly resume?: boolean;
  readonly detached?: boolean;
  readonly spec?: Partial<RunSpecInput>;
}

function startMessage(
  options: Record<string, number>,
  { resume = false, detached = false, spec }: StartExtra,
) {
  return {
    type: 'start' as const,
    runId: 'run_test',
    runDir,
    cacheDir: path.join(runDir, 'cache'),
    resume,
    detached,
    spec: parseRunSpec({
      model: { path: '/model' },
      data: { train: [{ path: '/data' }] },
      method: { name: 'fake', options },
      train: { steps: 20, gradientAccumulation: 1 },
      ...spec,
    }),
  };
}

/** A process that starts a worker as a host does and then only exists, so that it can be stopped or killed. */
function startHostProcess(options: Record<string, number>, extra: StartExtra = {}): ChildProcess {
  const script = `
    const { spawn } = require('node:child_process');
    const [entry, start] = process.argv.slice(1);
    const options = { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], serialization: 'advanced' };
    const worker = spawn(process.execPath, [entry], options);
    worker.on('message', ({ type }) => type === 'ready' && worker.send(JSON.parse(start)));
    worker.send({ type: 'hello', version: ${PROTOCOL_VERSION} });`;
  const entry = path.join(import.meta.dirname, 'fake-worker.fixture.ts');
  const host = spawn(process.execPath, ['-e', script, entry, JSON.stringify(startMessage(options, extra))], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  children.push(host);
  return host;
}

/** True for a process that exists and is more than an entry that nobody has collected yet. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !readFileSync(stat, 'utf8').includes(') Z ');
}

async function until(what: string, condition: () => boolean, limitMs = 20_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(5);
  }
}

function readRun<T>(read: (reader: ReturnType<typeof openRunReader>) => T): T {
  const reader = openRunReader(runFiles(runDir).db);
  try {
    return read(reader);
  } finally {
    reader.close();
  }
}

function heartbeat(): Heartbeat | undefined {
  const file = runFiles(runDir).heartbeat;
  return existsSync(file) ? Heartbeat.parse(JSON.parse(readFileSync(file, 'utf8'))) : undefined;
}

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
  worker.send(startMessage({}, {}));
  expect(await worker.exited).toEqual({ code: 64, signal: null });
});

test('WP2: one run per process: it ends with its run and refuses a second one', async () => {
  const worker = new WorkerUnderTest();
  await worker.start({ stepMs: 20 });
  await worker.until('started', () => worker.of('started').length > 0);
  worker.send(startMessage({}, {}));
  await worker.until('reply', () => worker.of('reply').length > 0);
  expect(worker.of('reply')).toMatchObject([{ request: 0, ok: false, error: { code: 'worker/busy' } }]);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.of('ended')).toEqual([{ type: 'ended', exit: 'completed' }]);
});

test('WP2: a second writer of the same run is refused and leaves the run alone', async () => {
  const writer = openRunWriter(runFiles(runDir).db, { pid: process.pid });
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
  await worker.until('step 2', () => heartbeat()?.step === 2);
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
  await until('a step', () => heartbeat() !== undefined);
  host.kill('SIGSTOP');
  await until('the end', () => readRun((reader) => reader.outcome()) !== null);
  expect(readRun((reader) => reader.outcome())).toEqual({ exit: 'completed' });
});

test('WP7: the thread ends a blocked worker whose host is gone', async () => {
  const host = startHostProcess({ blockAt: 3, blockMs: 120_000 });
  await until('step 3', () => heartbeat()?.step === 3);
  const pid = heartbeat()?.pid ?? 0;
  expect(isRunning(pid)).toBe(true);
  host.kill('SIGKILL');
  // Ten seconds to leave by itself.
  await until('the end', () => !isRunning(pid), 20_000);
  expect(isRunLocked(runFiles(runDir).db)).toBe(false);
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
  expect(isRunLocked(runFiles(runDir).db)).toBe(false);

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

test('an idle worker stays below 100 MB', async () => {
  const worker = new WorkerUnderTest('main.ts');
  worker.send({ type: 'hello', version: PROTOCOL_VERSION });
  await worker.until('ready', () => worker.of('ready').length > 0);
  if (process.platform !== 'linux') return;
  const status = readFileSync(`/proc/${worker.child.pid}/status`, 'utf8');
  const rssMB = (Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024) / 1e6;
  expect(rssMB).toBeLessThan(100);
});
