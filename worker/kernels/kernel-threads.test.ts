import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Arena } from './arena.ts';
import { KernelThreads } from './kernel-threads.ts';
import { createKernels, type Kernels } from './kernels.ts';
import { PART, State, createJobMemory, publish, takeParts } from './shared-job.ts';

/** Longer than what one thread does alone, and no whole number of parts. */
const LENGTH = 5 * PART + 77;

const settings = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, gradScale: 0.7 };

/** Weights and moments after three steps. */
async function trained(threads: number, between: (kernels: Kernels) => unknown): Promise<Float32Array[]> {
  const arena = new Arena();
  const kernels = createKernels(arena, threads);
  const blocks = Array.from({ length: 4 }, () => arena.allocate(4 * LENGTH));
  const [p = 0, g = 0, m = 0, v = 0] = blocks.map(({ offset }) => offset);
  const arrays = [p, g, m, v].map((offset) => arena.f32(offset, LENGTH));
  for (const [at, array] of arrays.slice(0, 2).entries()) {
    for (let i = 0; i < LENGTH; i++) array[i] = Math.sin(i * (at + 1));
  }
  for (let step = 1; step <= 3; step++) {
    kernels.adamw(p, g, m, v, LENGTH, { ...settings, step });
    await between(kernels);
  }
  kernels.release();
  return arrays.map((array) => array.slice());
}

function sameBits(a: Float32Array, b: Float32Array | undefined): boolean {
  const bytes = (array: Float32Array) => new Uint8Array(array.buffer);
  return b !== undefined && Buffer.compare(bytes(a), bytes(b)) === 0;
}

test('threads give the bits of one thread, also when they are ended and started between steps', async () => {
  const alone = await trained(1, () => {});
  // Time enough for the thread to take part.
  const together = await trained(3, () => sleep(150));
  const restarted = await trained(2, (kernels) => kernels.release());
  for (const other of [together, restarted]) {
    expect(alone.map((array, i) => sameBits(array, other[i]))).toEqual([true, true, true, true]);
  }
});

test('a thread that comes late takes what is left, and nothing twice', () => {
  const taken = new Set<number>();
  const job = createJobMemory();
  const call = { kernel: 'note', arrays: [[64, 4]] as const, n: LENGTH, scalars: [3] };
  const kernels = { note: (offset: bigint | number) => void taken.add(Number(offset)) };
  publish(job, [call], kernels);
  const counters = new Int32Array(job.state);
  Atomics.sub(counters, State.left, 2);
  takeParts(job, kernels);
  expect([...taken]).toEqual([3, 2, 1, 0].map((part) => 64 + 4 * part * PART));
  takeParts(job, kernels);
  expect([taken.size, Atomics.load(counters, State.done)]).toEqual([4, 4]);
});

test('a missing kernel is an error of this thread, not a wait', () => {
  const threads = new KernelThreads({}, new Arena().memory, 0);
  const call = { kernel: 'none', arrays: [[0, 4]] as const, n: 1, scalars: [] };
  expect(() => threads.run([call], {})).toThrow(/no kernel/);
});

test('several arrays are widened in one job, as each alone', async () => {
  const arena = new Arena();
  const lengths = [LENGTH, 3, 2 * PART, PART + 1];
  const copies = lengths.map((n) => ({
    source: arena.allocate(2 * n).offset,
    target: arena.allocate(4 * n).offset,
    n,
  }));
  for (const { source, n } of copies)
    arena.u8(source, 2 * n).forEach((_, i, bytes) => (bytes[i] = (i * 7 + n) % 251));
  const widened = (kernels: Kernels) => {
    for (const { target, n } of copies) arena.u8(target, 4 * n).fill(0);
    kernels.bf16ToF32Each(copies);
    return copies.map(({ target, n }) => arena.f32(target, n).slice());
  };
  const alone = widened(createKernels(arena, 1));
  const kernels = createKernels(arena, 3);
  widened(kernels);
  // Time enough for the threads to take part.
  await sleep(150);
  const together = widened(kernels);
  kernels.release();
  expect(alone.map((array, i) => sameBits(array, together[i]))).toEqual([true, true, true, true]);
  expect(alone[1]?.some((value) => value !== 0)).toBe(true);
});
