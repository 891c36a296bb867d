/** Long elementwise kernels, cut into parts that threads over the same memory take in turn. */
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
  /**
   * The calls in 64-bit floats behind their number: of each the kernel (its place among the exports), n, and arrays and scalars behind
   * their counts.
   */
  readonly calls: SharedArrayBuffer;
}

/** Places in `JobMemory.state`: number of the job, parts that nobody has taken (0 or less: none), parts that are done. */
export const State = { job: 0, left: 1, done: 2 } as const;

/** Memory for one job at a time. */
export function createJobMemory(): JobMemory {
  return { state: new SharedArrayBuffer(12), calls: new SharedArrayBuffer(4096) };
}

/** How many parts calls have. */
export function partsOf(calls: readonly ElementwiseCall[]): number {
  return calls.reduce((parts, { n }) => parts + Math.ceil(n / PART), 0);
}

/** Puts calls that do not depend on each other where threads find them. All parts of those before must be done. */
export function publish(
  { state, calls }: JobMemory,
  job: readonly ElementwiseCall[],
  kernels: KernelFunctions,
): void {
  const names = Object.keys(kernels);
  const words = job.flatMap(({ kernel, arrays, n, scalars }) => [
    names.indexOf(kernel),
    n,
    arrays.length,
    ...arrays.flat(),
    scalars.length,
    ...scalars,
  ]);
  new Float64Array(calls).set([job.length, ...words]);
  const counters = new Int32Array(state);
  Atomics.store(counters, State.done, 0);
  // Whoever takes a part of this job has seen this store, and so what stands above it.
  Atomics.store(counters, State.left, partsOf(job));
  Atomics.add(counters, State.job, 1);
  Atomics.notify(counters, State.job);
}

/** Takes parts of the published job until none is left. */
export function takeParts({ state, calls }: JobMemory, kernels: KernelFunctions): void {
  const counters = new Int32Array(state);
  // Counting down: a thread that comes late finds none left, and never one of a call it has not read.
  for (;;) {
    const part = Atomics.sub(counters, State.left, 1) - 1;
    if (part < 0) return;
    let left = part;
    for (const call of read(calls, kernels)) {
      const own = partsOf([call]);
      if (left < own) {
        runPart(call, left, kernels);
        break;
      }
      left -= own;
    }
    Atomics.add(counters, State.done, 1);
    Atomics.notify(counters, State.done);
  }
}

function* read(calls: SharedArrayBuffer, kernels: KernelFunctions): Generator<ElementwiseCall> {
  const words = new Float64Array(calls);
  const names = Object.keys(kernels);
  let at = 0;
  const next = (): number => words[at++] ?? 0;
  const list = <T>(of: () => T): T[] => Array.from({ length: next() }, of);
  for (let left = next(); left > 0; left--) {
    const kernel = names[next()] ?? '';
    const n = next();
    const arrays = list(() => [next(), next()] as const);
    yield { kernel, n, arrays, scalars: list(next) };
  }
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
