/** One long elementwise kernel, cut into parts that threads over the same memory take in turn. */
import { invariant } from '#core/contract/errors.ts';
import type { KernelFunctions } from './web-assembly.ts';

/** Elements of a part: so many that taking one costs nothing, so few that a thread held up holds up little. */
export const PART = 2 ** 18;

/** A kernel over `n` elements of each array. */
export interface ElementwiseCall {
  /** Name of the export. */
  readonly kernel: string;
  /** Where each array starts, in bytes from the start of the memory, and the bytes of one of its elements. */
  readonly arrays: readonly (readonly [offset: number, elementBytes: number])[];
  readonly n: number;
  readonly scalars: readonly number[];
}

/** What the threads share beside the arrays. */
export interface JobMemory {
  /** 32-bit integers, see `State`. */
  readonly state: SharedArrayBuffer;
  /** The call in 64-bit floats: kernel (its place among the exports), n, and arrays and scalars behind their counts. */
  readonly call: SharedArrayBuffer;
}

/** Places in `JobMemory.state`: number of the job, parts that nobody has taken (0 or less: none), parts that are done. */
export const State = { job: 0, left: 1, done: 2 } as const;

/** Memory for one job at a time. */
export function createJobMemory(): JobMemory {
  return { state: new SharedArrayBuffer(12), call: new SharedArrayBuffer(512) };
}

/** How many parts a call has. */
export function partsOf({ n }: ElementwiseCall): number {
  return Math.ceil(n / PART);
}

/** Puts a call where threads find it. All parts of the one before must be done. */
export function publish({ state, call }: JobMemory, job: ElementwiseCall, kernels: KernelFunctions): void {
  const { kernel, arrays, n, scalars } = job;
  const words = [Object.keys(kernels).indexOf(kernel), n, arrays.length, ...arrays.flat(), scalars.length, ...scalars]; // prettier-ignore
  new Float64Array(call).set(words);
  const counters = new Int32Array(state);
  Atomics.store(counters, State.done, 0);
  // Whoever takes a part of this job has seen this store, and so what stands above it.
  Atomics.store(counters, State.left, partsOf(job));
  Atomics.add(counters, State.job, 1);
  Atomics.notify(counters, State.job);
}

/** Takes parts of the published job until none is left. */
export function takeParts({ state, call }: JobMemory, kernels: KernelFunctions): void {
  const counters = new Int32Array(state);
  // Counting down: a thread that comes late finds none left, and never one of a call it has not read.
  for (;;) {
    const part = Atomics.sub(counters, State.left, 1) - 1;
    if (part < 0) return;
    runPart(read(call, kernels), part, kernels);
    Atomics.add(counters, State.done, 1);
    Atomics.notify(counters, State.done);
  }
}

function read(call: SharedArrayBuffer, kernels: KernelFunctions): ElementwiseCall {
  const words = [...new Float64Array(call)];
  const [place = 0, n = 0, count = 0] = words;
  const pairs = words.slice(3, 3 + 2 * count);
  const arrays = Array.from({ length: count }, (_, i) => [pairs[2 * i] ?? 0, pairs[2 * i + 1] ?? 0] as const);
  const [scalarCount = 0, ...rest] = words.slice(3 + 2 * count);
  return { kernel: Object.keys(kernels)[place] ?? '', arrays, n, scalars: rest.slice(0, scalarCount) };
}

function runPart(
  { kernel, arrays, n, scalars }: ElementwiseCall,
  part: number,
  kernels: KernelFunctions,
): void {
  const run = kernels[kernel];
  invariant(run !== undefined, `no kernel ${kernel}`);
  const start = part * PART;
  const offsets = arrays.map(([offset, elementBytes]) => BigInt(offset + start * elementBytes));
  run(...offsets, BigInt(Math.min(PART, n - start)), ...scalars);
}
