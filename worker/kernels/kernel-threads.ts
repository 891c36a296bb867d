/** Threads that take their share of long elementwise kernels. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { invariant } from '#core/contract/errors.ts';
import { State, createJobMemory, partsOf, publish, takeParts, type ElementwiseCall } from './shared-job.ts';
import type { KernelFunctions, Memory64 } from './web-assembly.ts';

/** Longest wait for parts that other threads have taken: a part takes under a millisecond. */
const PATIENCE_MS = 60_000;

/** Handed to a thread at its start. */
export interface KernelThreadOptions {
  /** The compiled kernels, and the memory of the arena. */
  readonly module: object;
  readonly memory: Memory64;
  readonly job: ReturnType<typeof createJobMemory>;
}

/** Runs kernels on this thread and on others, which it starts with the first one. */
export class KernelThreads {
  readonly #options: KernelThreadOptions;
  readonly #count: number;
  #threads: Worker[] = [];

  /** @param others threads beside this one. */
  constructor(module: object, memory: Memory64, others: number) {
    this.#options = { module, memory, job: createJobMemory() };
    this.#count = others;
  }

  /** Runs calls that do not depend on each other to their end. The result is that of one thread: no part reads what another writes. */
  run(calls: readonly ElementwiseCall[], kernels: KernelFunctions): void {
    const { job } = this.#options;
    if (this.#threads.length === 0) this.#start();
    publish(job, calls, kernels);
    // Threads still starting, or held up by other programs, find less left.
    takeParts(job, kernels);
    const counters = new Int32Array(job.state);
    for (;;) {
      const done = Atomics.load(counters, State.done);
      if (done === partsOf(calls)) return;
      const outcome = Atomics.wait(counters, State.done, done, PATIENCE_MS);
      invariant(outcome !== 'timed-out', () => `${calls[0]?.kernel}: a thread has stopped in part of it`);
    }
  }

  /** Ends the threads; the next call starts them again. */
  release(): void {
    for (const thread of this.#threads) void thread.terminate();
    this.#threads = [];
  }

  #start(): void {
    // The thread's file lies beside this one, as source and as bundle.
    const file = path.join(import.meta.dirname, `kernel.thread${path.extname(import.meta.filename)}`);
    this.#threads = Array.from({ length: this.#count }, () => {
      const thread = new Worker(pathToFileURL(file), {
        workerData: this.#options,
        // All it works on lies in the shared memory.
        resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
      });
      thread.unref();
      return thread;
    });
  }
}
