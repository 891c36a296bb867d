/** A worker without process, for tests of the host. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { RunFacts } from '#core/contract/run.ts';
import { HostToWorker, PROTOCOL_VERSION, type WorkerToHost } from '#core/contract/worker-protocol.ts';
import { linkPair, type Link } from '#core/link/index.ts';
import { openRunWriter, runFiles, type RunWriter } from '#core/store/index.ts';
import type { ProcessExit } from './ports.ts';

/** Facts of a tiny run. */
export const facts: RunFacts = {
  family: 'olmoe',
  layers: 2,
  moeLayers: 2,
  moeLayerIndices: [0, 1],
  experts: 4,
  expertsPerToken: 2,
  trainableParameters: 10,
  totalParameters: 20,
  totalSteps: 3,
  trainRows: 8,
  validationRows: 2,
  hashes: { model: 'a', data: 'b', tokenizer: 'c', code: 'd' },
  provider: 'cpu',
  threads: 1,
  estimatedMemoryMB: 5,
};

/** A worker without process: a test tells it what to do, and it keeps the protocol. */
export class ScriptedWorker {
  readonly link: Link;
  readonly exited: Promise<ProcessExit>;
  readonly commands: HostToWorker[] = [];
  killed = false;
  released = false;
  tail = '';
  start: Extract<HostToWorker, { type: 'start' }> | undefined;
  /** Answers commands by itself; a stop ends the run. */
  obedient = true;
  #writer: RunWriter | undefined;
  #step = 0;
  readonly #end: Link;
  #exit: (exit: ProcessExit) => void = () => undefined;

  constructor() {
    [this.link, this.#end] = linkPair();
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
    this.#end.onMessage((raw) => this.#receive(HostToWorker.parse(raw)));
  }

  send(message: WorkerToHost): void {
    this.#end.send(message);
  }

  #receive(message: HostToWorker): void {
    this.commands.push(message);
    if (message.type === 'hello') this.send({ type: 'ready', version: PROTOCOL_VERSION, pid: process.pid });
    else if (message.type === 'start') this.start = message;
    else if (this.obedient) this.#obey(message);
  }

  #obey(message: Extract<HostToWorker, { request: number }>): void {
    this.send({ type: 'reply', request: message.request, ok: true });
    if (message.type === 'stop') this.end('stopped');
    if (message.type === 'pause') this.send({ type: 'state', state: 'paused' });
    if (message.type === 'resume') this.send({ type: 'state', state: 'running' });
  }

  /** Prepares the run: facts in the database, then `started`. */
  prepare(): void {
    const dir = this.start?.runDir ?? '';
    this.#writer = openRunWriter(runFiles(dir).db, { pid: process.pid });
    this.#writer.facts(facts);
    if (this.start?.resume) this.#writer.resetTo(this.#step);
    this.send({ type: 'started', facts, step: this.#step });
  }

  /** Commits one step with its routing and announces it. */
  step(): void {
    const step = ++this.#step;
    this.#writer?.step(
      {
        step,
        wallMs: Date.now(),
        loss: 3 / step,
        learningRate: 1e-4,
        gradNorm: 1,
        tokens: 64,
        trainedTokens: 32,
        tokensPerSecond: 640,
        rssMB: 50,
      },
      { step, counts_LE: new Uint32Array([8, 4, 2, 2, 4, 4, 4, 4]) },
    );
    this.send({ type: 'advanced', runId: this.start?.runId ?? '', lastStep: step, lastEvent: 0 });
  }

  /** Commits the validation loss after the last step. */
  evaluation(loss: number): void {
    this.#writer?.evaluation({ step: this.#step, loss, trainedTokens: 8 });
  }

  /** Saves something that looks like a checkpoint. */
  checkpoint(): void {
    const folder = path.join(this.start?.runDir ?? '', 'checkpoints', `step-${this.#step}`);
    mkdirSync(folder, { recursive: true });
    this.#writer?.checkpoint({ step: this.#step, path: folder, bytes: 10, wallMs: Date.now() });
  }

  /** Ends as a worker does: committed, told, exited. */
  end(exit: 'completed' | 'stopped' | 'failed', error?: { code: string; message: string }): void {
    this.#writer?.ended(exit, this.#step, error);
    this.send({ type: 'ended', exit, ...(error && { error }) });
    this.exit({ code: { completed: 0, stopped: 3, failed: 1 }[exit], signal: null });
  }

  /** The process is gone, and nobody is left to notice. */
  vanish(): void {
    this.#writer?.close();
    this.#writer = undefined;
  }

  /** The process is gone. */
  exit(exit: ProcessExit): void {
    this.vanish();
    // After the messages on the way, as with a real channel.
    setTimeout(() => this.#exit(exit), 1);
  }

  errorTail(): string {
    return this.tail;
  }

  kill(): void {
    this.killed = true;
    this.exit({ code: null, signal: 'SIGKILL' });
  }

  release(): void {
    this.released = true;
    this.link.close();
  }
}
