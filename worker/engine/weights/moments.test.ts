import { expect, test } from 'vitest';
import { Arena, createKernels, type AdamWOptions } from '#worker/kernels/index.ts';
import { philox } from '#worker/random/index.ts';
import { MOMENT_BLOCK, Moments, momentBytes } from './moments.ts';

const OPTIONS = { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, gradScale: 0.7 };
/** More than a chunk, and no whole number of them. */
const COUNT = 17 * MOMENT_BLOCK;

function setUp(
  format: ConstructorParameters<typeof Moments>[0],
  gradient: (i: number, step: number) => number,
) {
  const arena = new Arena();
  const kernels = createKernels(arena);
  const [weights, gradients] = [arena.allocate(4 * COUNT).offset, arena.allocate(4 * COUNT).offset];
  const moments = new Moments(format, COUNT, arena, kernels);
  arena.f32(weights, COUNT).set(Float32Array.from({ length: COUNT }, (_, i) => Math.sin(i)));
  const step = (count: number, options: Partial<AdamWOptions> = {}) => {
    arena.f32(gradients, COUNT).set(Float32Array.from({ length: COUNT }, (_, i) => gradient(i, count)));
    moments.adamw(weights, gradients, 0, COUNT, { ...OPTIONS, step: count, ...options });
  };
  return { arena, moments, step, weights: arena.f32(weights, COUNT) };
}

/** 16 random bits of an element, as the kernels draw them. */
function noise(key: number, i: number): number {
  return ((Math.imul(i, 0x9e3779b9) + key) >>> 0) >>> 16;
}
const bitsOf = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0] ?? 0;
const fromBits = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0] ?? 0;

/** One moment rounded and widened again, by definition. */
function rounded(format: 'bfloat16' | 'float8', signed: boolean, key: number, x: Float32Array): Float32Array {
  if (format === 'bfloat16')
    return x.map((value, i) => fromBits((bitsOf(value) + noise(key, i)) & 0xffff0000));
  return x.map((value, i) => {
    const from = Math.floor(i / MOMENT_BLOCK) * MOMENT_BLOCK;
    const scale = Math.max(...x.subarray(from, from + MOMENT_BLOCK).map(Math.abs));
    if (scale === 0) return 0;
    const ratio = Math.fround(value * Math.fround(1 / scale));
    const highest = signed ? 127 : 255;
    const lowest = 0x3f800000 - highest * 2 ** 20;
    const code = Math.max(0, Math.floor((bitsOf(Math.abs(ratio)) + 16 * noise(key, i) - lowest) / 2 ** 20));
    if (signed && code === 0) return value < 0 ? -0 : 0;
    return Math.fround(Math.sign(ratio || 1) * fromBits(lowest + code * 2 ** 20) * scale);
  });
}

test.each(['bfloat16', 'float8'] as const)(
  'moments in %s are those of float32 steps, rounded by definition after each',
  (format) => {
    const gradient = (i: number, step: number) =>
      // A block without any, one of single values among zeros, and many magnitudes.
      i < MOMENT_BLOCK ? 0 : i < 2 * MOMENT_BLOCK && i % 7 > 0 ? 0 : Math.sin(i * step) * 10 ** -(i % 9);
    const narrow = setUp(format, gradient);
    const wide = setUp('float32', gradient);
    const [first, second] = wide.moments
      .parts(0, COUNT)
      .map(({ data }) => new Float32Array(data.buffer, data.byteOffset, COUNT));
    if (first === undefined || second === undefined) throw new Error('there are two moments');
    for (const step of [1, 2, 3]) {
      narrow.step(step);
      wide.step(step);
      expect(narrow.weights.slice()).toEqual(wide.weights.slice());
      const [firstKey, secondKey] = philox(step, 0, 0);
      first.set(rounded(format, true, firstKey, first));
      second.set(rounded(format, false, secondKey, second));
    }
  },
);

/** Mean of the second moments, read off the weights' steps: with β1 = 0 and gradient g a weight moves by lr·g/√v̂. */
function decayed(format: 'bfloat16' | 'float8'): number {
  // Every element has another second moment; then gradients all but stop.
  const { step, weights } = setUp(format, (i, count) => (count === 1 ? 1 + (i % 97) / 97 : 1e-6));
  const options = { beta1: 0, weightDecay: 0, gradScale: 1 };
  for (let count = 1; count < 1000; count++) step(count, { ...options, lr: 0 });
  const before = weights.slice();
  step(1000, { ...options, lr: 1 });
  const corrected = 1 - OPTIONS.beta2 ** 1000;
  const roots = weights.map((weight, i) => (1e-6 / Math.abs(weight - (before[i] ?? 0))) ** 2 * corrected);
  const expected = weights.map(
    (_, i) => (1 - OPTIONS.beta2) * (1 + (i % 97) / 97) ** 2 * OPTIONS.beta2 ** 999,
  );
  const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
  return sum(roots) / sum(expected);
}

test('a second moment decays in every format as in float32, on average', () => {
  // To the nearest, bfloat16 would stand still: 1 / 0.999^999 = 2.7 times too much.
  expect(decayed('bfloat16')).toBeCloseTo(1, 1);
  expect(decayed('float8')).toBeCloseTo(1, 1);
});

test('parts of a checkpoint bring moments back exactly', () => {
  for (const format of ['float32', 'bfloat16', 'float8'] as const) {
    const gradient = (i: number, step: number) => Math.cos(i + step);
    const [whole, stopped, resumed] = [
      setUp(format, gradient),
      setUp(format, gradient),
      setUp(format, gradient),
    ];
    for (const step of [1, 2, 3, 4]) whole.step(step);
    for (const step of [1, 2]) stopped.step(step);
    resumed.weights.set(stopped.weights);
    const saved = stopped.moments.parts(0, COUNT);
    resumed.moments.parts(0, COUNT).forEach(({ data }, index) => data.set(saved[index]?.data ?? []));
    for (const step of [3, 4]) resumed.step(step);
    expect(resumed.weights.slice()).toEqual(whole.weights.slice());
    const bytes = saved.reduce((sum, { data }) => sum + data.byteLength, 0);
    expect(bytes).toBe(COUNT * momentBytes(format));
  }
});
