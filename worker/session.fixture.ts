/** The worker session with real processes: a fake trainer in the real session (`fake-worker.fixture.ts`). */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach } from 'vitest';
import { parseRunSpec, type RunSpecInput } from '#core/contract/run-spec.ts';
import {
  Heartbeat,
  type HostToWorker,
  PROTOCOL_VERSION,
  WorkerToHost,
} from '#core/contract/worker-protocol.ts';
import { openRunReader, runFiles } from '#core/store/index.ts';

let runDir: string;
const children: ChildProcess[] = [];

/** Gives each test of a file a run directory of its own, and leaves no process behind. */
export function freshRunEachTest(): void {
  beforeEach(() => {
    runDir = mkdtempSync(path.join(os.tmpdir(), 'condenser-session-'));
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    rmSync(runDir, { recursive: true, force: true, maxRetries: 5 });
  });
}

/** The database of the test's run. */
export const runDb = (): string => runFiles(runDir).db;

/** True from when the fake trainer blocks its thread (`blockAt`). */
export const isBlocked = (): boolean => existsSync(path.join(runDir, 'blocked'));

type Message = WorkerToHost;

/** A worker process, and what it sent so far. */
export class WorkerUnderTest {
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

/** What starts the test's run with the options of the fake trainer. */
export function startMessage(
  options: Record<string, number>,
  { resume = false, detached = false, spec }: StartExtra = {},
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
export function startHostProcess(options: Record<string, number>, extra: StartExtra = {}): ChildProcess {
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
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !readFileSync(stat, 'utf8').includes(') Z ');
}

/** Looks again and again until `condition` holds. @throws Error after `limitMs`. */
export async function until(what: string, condition: () => boolean, limitMs = 20_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(5);
  }
}

/** What `read` finds in the database of the test's run. */
export function readRun<T>(read: (reader: ReturnType<typeof openRunReader>) => T): T {
  const reader = openRunReader(runDb());
  try {
    return read(reader);
  } finally {
    reader.close();
  }
}

/** The last sign of life of the run, if there is one. */
export function heartbeat(): Heartbeat | undefined {
  const file = runFiles(runDir).heartbeat;
  return existsSync(file) ? Heartbeat.parse(JSON.parse(readFileSync(file, 'utf8'))) : undefined;
}
