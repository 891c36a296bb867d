/** A thread of `KernelThreads`: waits for a job, takes parts of it, waits for the next. */
import { workerData } from 'node:worker_threads';
import type { KernelThreadOptions } from './kernel-threads.ts';
import { State, takeParts } from './shared-job.ts';
import { WebAssembly } from './web-assembly.ts';

const { module, memory, job } = workerData as KernelThreadOptions;
const { exports } = new WebAssembly.Instance(module, { arena: { memory } });
const counters = new Int32Array(job.state);
for (;;) {
  const seen = Atomics.load(counters, State.job);
  takeParts(job, exports);
  Atomics.wait(counters, State.job, seen);
}
