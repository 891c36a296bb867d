import { readFileSync } from 'node:fs';
import { invariant } from '#core/contract/errors.ts';
import type { Arena } from './arena.ts';
import { KernelThreads } from './kernel-threads.ts';
import { PART, type ElementwiseCall } from './shared-job.ts';
import { WebAssembly } from './web-assembly.ts';

/** Elements of 8 bits that share a scale. */
export const FLOAT8_BLOCK = 256;

/** Numbers of one AdamW step. */
export interface AdamWOptions {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** 1 for the first step. */
  readonly step: number;
  /** Factor applied to the gradient before anything else (clipping by global norm); 1 leaves it. */
  readonly gradScale: number;
}

/** Where random bits come from: 32 bits that differ from draw to draw, and the index of the first element. */
export interface Noise {
  readonly key: number;
  readonly first: number;
}

/** 8-bit floats: with a sign, 4 bits of exponent and zero (first moments), or 5 bits of exponent and no zero (second ones). */
export type Float8Kind = 'signed8' | 'unsigned8';

/**
 * Kernels over one arena. Offsets are bytes from the start of the arena, `n` counts elements; arrays may start at any
 * offset, but must not overlap in part. The same result whatever the alignment and the number of threads.
 */
export interface Kernels {
  /**
   * One AdamW step over `n` f32 parameters `p` with gradients `g` and moments `m`, `v` (first step: zeros):
   *
   *     g = gradScale·g;  p = p − lr·weightDecay·p
   *     m = m + (1−β1)(g−m);  v = β2·v + (1−β2)·g²
   *     p = p − lr/(1−β1^t) · m / (√v/√(1−β2^t) + eps)
   *
   * Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), in the order of operations of
   * `torch.optim.AdamW`. `g` is not changed. Measured with 33 M parameters on one core of a 2-core EPYC: 600 to 780
   * million parameters a second (28 bytes of memory traffic each); the arena's gaps matter, see `Arena`.
   */
  adamw(p: number, g: number, m: number, v: number, n: number, options: AdamWOptions): void;
  /** Σ x², summed in f64, in an order that depends on `n` only. NaN and infinity carry over into the result. */
  sumOfSquares(x: number, n: number): number;
  /** Whether no element is NaN or infinite. */
  allFinite(x: number, n: number): boolean;
  /** y = a·y */
  scale(y: number, n: number, a: number): void;
  /** y = a */
  fill(y: number, n: number, a: number): void;
  /** y = y + a·x */
  axpy(y: number, x: number, a: number, n: number): void;
  /** `n` bf16 words at `source` to f32 at `target`. Exact. */
  bf16ToF32(target: number, source: number, n: number): void;
  /** The same for several arrays: threads are woken once for all. */
  bf16ToF32Each(
    copies: readonly { readonly target: number; readonly source: number; readonly n: number }[],
  ): void;
  /** `n` f32 at `source` to bf16 at `target`, round to nearest even; NaN stays NaN. */
  f32ToBf16(target: number, source: number, n: number): void;
  /** `n` f32 at `source` to bf16 at `target`, up or down at random, so that the mean is the value; no NaN among them. */
  f32ToBf16AtRandom(target: number, source: number, n: number, noise: Noise): void;
  /**
   * `n` finite f32 at `source` (for `unsigned8`: of 0 or more) to 8-bit floats at `target`, in blocks of `FLOAT8_BLOCK` whose
   * largest magnitude goes to `scales`; `n` is a multiple of it. A value x of a block with scale s becomes the code of x/s,
   * up or down at random. Codes have 3 bits of fraction: neighbours are 6 to 12 % apart. Signed ones reach down to 2^-15.7,
   * below which there is zero; unsigned ones to 2^-31.8, and what is less becomes that.
   */
  f32ToFloat8(
    kind: Float8Kind,
    target: number,
    scales: number,
    source: number,
    n: number,
    noise: Noise,
  ): void;
  /** The inverse of `f32ToFloat8`: code times scale. A block with scale 0 is all zeros. */
  float8ToF32(kind: Float8Kind, target: number, source: number, scales: number, n: number): void;
  /** `n` fp16 words at `source` to f32 at `target`. Exact, subnormals included. */
  f16ToF32(target: number, source: number, n: number): void;
  /** `n` f32 at `source` to fp16 at `target`, round to nearest even; above 65504 by half a unit: infinity. */
  f32ToF16(target: number, source: number, n: number): void;
  /**
   * The gradient of an embedding: table_VD[ids[r]] += rows_RD[r] for r = 0, 1, 2, …, in this order, so that rows with
   * the same id always add up in the same way. Only the named rows of the table are touched.
   * @param width D, elements of a row
   * @param tableRows V; every id must be in [0, V)
   */
  addRows(table: number, rows: number, ids: ArrayLike<number>, width: number, tableRows: number): void;
  /**
   * The look-up in an embedding, or tokens sorted by expert: rows_RD[r] = table_VD[ids[r]].
   * @param width D, elements of a row
   * @param tableRows V; every id must be in [0, V)
   */
  gatherRows(rows: number, table: number, ids: ArrayLike<number>, width: number, tableRows: number): void;
  /** Ends the threads there may be; a later kernel starts them again. */
  release(): void;
}

/** Threads that memory keeps busy: more wait for it. */
const MOST_THREADS = 4;
/** Elements from which other threads are worth waking. */
const SHARED_FROM = 4 * PART;

let module: object | undefined;

/**
 * Loads the kernels over `arena`. Takes a few milliseconds the first time; the compiled module is kept for the next arena.
 * @param threads that long elementwise kernels run on.
 */
export function createKernels(arena: Arena, threads = 1): Kernels {
  module ??= new WebAssembly.Module(readFileSync(new URL('kernels.wasm', import.meta.url)));
  const { exports } = new WebAssembly.Instance(module, { arena: { memory: arena.memory } });
  const others = Math.min(threads, MOST_THREADS) - 1;
  const shared = others > 0 ? new KernelThreads(module, arena.memory, others) : null;

  const call = (name: string, ...args: readonly (bigint | number)[]): number => {
    const kernel = exports[name];
    invariant(kernel, `kernels.wasm has no function ${name}; run worker/kernels/build.ts`);
    return kernel(...args) ?? 0;
  };

  /** Checks the ranges [offset, element bytes], then calls the kernel with offsets, `n` and the scalars. */
  const run = (
    name: string,
    arrays: readonly (readonly [offset: number, elementBytes: number])[],
    n: number,
    ...scalars: readonly number[]
  ): number => {
    for (const [offset, elementBytes] of arrays) arena.check(offset, n * elementBytes, name);
    return call(name, ...arrays.map(([offset]) => BigInt(offset)), BigInt(n), ...scalars);
  };

  /** The same for kernels that give nothing back and do not depend on each other, on all threads where they are long. */
  const runEach = (calls: readonly ElementwiseCall[]): void => {
    const total = calls.reduce((sum, { n }) => sum + n, 0);
    if (shared === null || total < SHARED_FROM) {
      for (const { kernel, arrays, n, scalars } of calls) run(kernel, arrays, n, ...scalars);
      return;
    }
    for (const { kernel, arrays, n } of calls)
      for (const [offset, elementBytes] of arrays) arena.check(offset, n * elementBytes, kernel);
    shared.run(calls, exports);
  };

  const runElementwise = (
    kernel: string,
    arrays: ElementwiseCall['arrays'],
    n: number,
    ...scalars: readonly number[]
  ): void => {
    runEach([{ kernel, arrays, n, scalars }]);
  };

  /** Runs a kernel over rows that ids name, after checking every id: a wrong one would write elsewhere. */
  const runRows = (
    name: string,
    table: number,
    rows: number,
    ids: ArrayLike<number>,
    width: number,
    tableRows: number,
  ): void => {
    arena.check(table, tableRows * width * 4, `${name} table`);
    arena.check(rows, ids.length * width * 4, `${name} rows`);
    for (let r = 0; r < ids.length; r++) {
      const id = ids[r] as number;
      invariant(id >= 0 && id < tableRows, `${name}: id ${id} of row ${r} is outside [0, ${tableRows})`);
    }
    const mark = arena.mark();
    const place = arena.allocate(ids.length * 4);
    arena.i32(place, ids.length).set(ids);
    call(name, BigInt(table), BigInt(rows), BigInt(place.offset), BigInt(ids.length), BigInt(width));
    arena.release(mark);
  };

  /** The counter that a kernel draws from. */
  const counter = ({ key, first }: Noise): bigint => (BigInt(key >>> 0) << 32n) | BigInt(first);

  /** Runs a kernel over blocks of 8-bit floats. */
  const runBlocks = (
    name: string,
    bytes: number,
    scales: number,
    floats: number,
    n: number,
    at: bigint,
  ): void => {
    const blocks = n / FLOAT8_BLOCK;
    invariant(Number.isInteger(blocks), `${name}: ${n} elements are no whole blocks of ${FLOAT8_BLOCK}`);
    arena.check(bytes, n, name);
    arena.check(scales, 4 * blocks, name);
    arena.check(floats, 4 * n, name);
    call(name, BigInt(bytes), BigInt(scales), BigInt(floats), at, BigInt(blocks));
  };

  return {
    adamw(p, g, m, v, n, { lr, beta1, beta2, eps, weightDecay, step, gradScale }) {
      invariant(Number.isInteger(step) && step >= 1, `adamw: step ${step} must count from 1`);
      const arrays = [p, g, m, v].map((offset) => [offset, 4] as const);
      const stepSize = -lr / (1 - beta1 ** step);
      const root = Math.sqrt(1 - beta2 ** step);
      runElementwise(
        'adamw',
        arrays,
        n,
        gradScale,
        1 - lr * weightDecay,
        1 - beta1,
        beta2,
        1 - beta2,
        stepSize,
        root,
        eps,
      );
    },
    sumOfSquares: (x, n) => run('sumOfSquares', [[x, 4]], n),
    allFinite: (x, n) => run('allFinite', [[x, 4]], n) === 1,
    scale(y, n, a) {
      runElementwise('scale', [[y, 4]], n, a);
    },
    fill(y, n, a) {
      runElementwise('fill', [[y, 4]], n, a);
    },
    axpy(y, x, a, n) {
      runElementwise('axpy', [[y, 4], [x, 4]], n, a); // prettier-ignore
    },
    bf16ToF32(target, source, n) {
      runElementwise('bf16ToF32', [[target, 4], [source, 2]], n); // prettier-ignore
    },
    bf16ToF32Each(copies) {
      const kernel = 'bf16ToF32';
      runEach(copies.map(({ target, source, n }) => ({ kernel, arrays: [[target, 4], [source, 2]], n, scalars: [] }))); // prettier-ignore
    },
    f32ToBf16(target, source, n) {
      runElementwise('f32ToBf16', [[target, 2], [source, 4]], n); // prettier-ignore
    },
    f32ToBf16AtRandom(target, source, n, noise) {
      arena.check(target, 2 * n, 'f32ToBf16AtRandom');
      arena.check(source, 4 * n, 'f32ToBf16AtRandom');
      call('f32ToBf16AtRandom', BigInt(target), BigInt(source), counter(noise), BigInt(n));
    },
    f32ToFloat8(kind, target, scales, source, n, noise) {
      const name = kind === 'signed8' ? 'f32ToSigned8Blocks' : 'f32ToUnsigned8Blocks';
      runBlocks(name, target, scales, source, n, counter(noise));
    },
    float8ToF32(kind, target, source, scales, n) {
      runBlocks(`${kind}BlocksToF32`, source, scales, target, n, 0n);
    },
    f16ToF32(target, source, n) {
      runElementwise('f16ToF32', [[target, 4], [source, 2]], n); // prettier-ignore
    },
    f32ToF16(target, source, n) {
      runElementwise('f32ToF16', [[target, 2], [source, 4]], n); // prettier-ignore
    },
    addRows(table, rows, ids, width, tableRows) {
      runRows('addRows', table, rows, ids, width, tableRows);
    },
    gatherRows(rows, table, ids, width, tableRows) {
      runRows('gatherRows', table, rows, ids, width, tableRows);
    },
    release() {
      shared?.release();
    },
  };
}
