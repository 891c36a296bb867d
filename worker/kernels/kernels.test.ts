import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { expect, test } from 'vitest';
import { compileKernels } from './build.ts';
import { Arena, createKernels, type AdamWOptions } from './index.ts';
import { LENGTHS, map, setUp, values } from './kernels.fixture.ts';

/** Runs `kernel` on `y` (in place) with neighbours on both sides that must stay as they were. */
function inPlace(
  y: Float32Array,
  kernel: (k: ReturnType<typeof setUp>, offset: number) => void,
): Float32Array {
  const k = setUp();
  const guard = Float32Array.of(123);
  const before = k.put(guard);
  const offset = k.put(y);
  const after = k.put(guard);
  kernel(k, offset);
  expect([k.arena.f32(before, 1)[0], k.arena.f32(after, 1)[0]]).toEqual([123, 123]);
  return k.arena.f32(offset, y.length).slice();
}

const { fround } = Math;

test('kernels.wasm is what the source gives', async () => {
  expect(
    Buffer.from(await compileKernels()).equals(readFileSync(new URL('kernels.wasm', import.meta.url))),
  ).toBe(true);
});

test('scale, fill and axpy equal plain arithmetic on every length', () => {
  for (const n of LENGTHS) {
    const y = values(n, 1, true);
    const x = values(n, 2, true);
    const a = fround(0.3);
    expect(inPlace(y, ({ kernels }, o) => kernels.scale(o, n, a))).toEqual(map(y, (v) => v * a));
    expect(inPlace(y, ({ kernels }, o) => kernels.fill(o, n, -2.5))).toEqual(map(y, () => -2.5));
    expect(inPlace(y, ({ kernels, put }, o) => kernels.axpy(o, put(x), a, n))).toEqual(
      map(y, (v, i) => v + fround(a * (x[i] ?? 0))),
    );
  }
});

/** AdamW in f32, one rounding per operation, in the documented order. */
function adamwReference(
  p: number,
  g: number,
  m: number,
  v: number,
  o: AdamWOptions,
): readonly [number, number, number] {
  const grad = fround(g * fround(o.gradScale));
  const m1 = fround(m + fround(fround(grad - m) * fround(1 - o.beta1)));
  const v1 = fround(fround(v * fround(o.beta2)) + fround(fround(fround(1 - o.beta2) * grad) * grad));
  const root = fround(
    fround(fround(Math.sqrt(v1)) / fround(Math.sqrt(1 - o.beta2 ** o.step))) + fround(o.eps),
  );
  const update = fround(fround(fround(-o.lr / (1 - o.beta1 ** o.step)) * m1) / root);
  return [fround(fround(p * fround(1 - o.lr * o.weightDecay)) + update), m1, v1];
}

test('adamw equals the f32 formula bit for bit over several steps, at every length', () => {
  for (const n of LENGTHS) {
    const { arena, kernels, put } = setUp();
    const expected = { p: values(n, 1), m: new Float32Array(n), v: new Float32Array(n) };
    const p = put(expected.p);
    const m = put(expected.m);
    const v = put(expected.v);
    const gradient = put(new Float32Array(n));
    for (const step of [1, 2, 3]) {
      const g = values(n, 10 + step);
      arena.f32(gradient, n).set(g);
      const options = {
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weightDecay: 0.1,
        step,
        gradScale: 0.7,
      };
      kernels.adamw(p, gradient, m, v, n, options);
      for (let i = 0; i < n; i++) {
        const next = adamwReference(
          expected.p[i] ?? 0,
          g[i] ?? 0,
          expected.m[i] ?? 0,
          expected.v[i] ?? 0,
          options,
        );
        [expected.p[i], expected.m[i], expected.v[i]] = next;
      }
      expect(arena.f32(gradient, n)).toEqual(g);
    }
    expect(arena.f32(p, n).slice()).toEqual(expected.p);
    expect(arena.f32(m, n).slice()).toEqual(expected.m);
    expect(arena.f32(v, n).slice()).toEqual(expected.v);
  }
});

test('adamw: rate 0 leaves the weights and moves the moments; a zero gradient still decays both', () => {
  const { arena, kernels, put } = setUp();
  const [p, g, m, v] = [
    put(values(5, 1)),
    put(values(5, 2)),
    put(values(5, 3)),
    put(new Float32Array(5).fill(0.5)),
  ];
  const start = arena.f32(p, 5).slice();
  const options = { lr: 0, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, step: 2, gradScale: 1 };
  const moment = arena.f32(m, 5).slice();
  kernels.adamw(p, g, m, v, 5, options);
  expect(arena.f32(p, 5).slice()).toEqual(start);
  expect(arena.f32(m, 5).slice()).not.toEqual(moment);
  arena.f32(g, 5).fill(0);
  arena.f32(m, 5).fill(0);
  arena.f32(v, 5).fill(0);
  kernels.adamw(p, g, m, v, 5, { ...options, lr: 0.5 });
  expect(arena.f32(p, 5).slice()).toEqual(map(start, (x) => x * fround(0.95)));
});

test('sumOfSquares sums in 64 bits and lets NaN and infinity through', () => {
  for (const n of LENGTHS) {
    const x = values(n, 3);
    const { kernels, put } = setUp();
    const expected = x.reduce((sum, v) => sum + v * v, 0);
    expect(kernels.sumOfSquares(put(x), n)).toBeCloseTo(expected, 8);
    for (let i = 0; i < Math.min(n, 9); i++) {
      expect(kernels.sumOfSquares(put(x.with(i, NaN)), n)).toBeNaN();
      expect(kernels.sumOfSquares(put(x.with(i, -Infinity)), n)).toBe(Infinity);
    }
  }
  const { kernels, put } = setUp();
  // In 32 bits the first would overflow and the second lose its small terms.
  expect(kernels.sumOfSquares(put(Float32Array.of(3e38, 3e38)), 2)).toBeCloseTo(2 * fround(3e38) ** 2, -70);
  expect(kernels.sumOfSquares(put(new Float32Array(9).fill(1).with(0, 2 ** 13)), 9)).toBe(2 ** 26 + 8);
});

test('allFinite finds one bad value at any position', () => {
  for (const n of LENGTHS) {
    const { kernels, put } = setUp();
    const x = values(n, 4).fill(3.4e38, 0, 1);
    expect(kernels.allFinite(put(x), n)).toBe(true);
    for (let i = 0; i < Math.min(n, 17); i++) {
      for (const bad of [NaN, Infinity, -Infinity])
        expect(kernels.allFinite(put(x.with(i, bad)), n)).toBe(false);
    }
  }
});

test('addRows adds repeated ids in order and touches no other row', () => {
  const { arena, kernels, put } = setUp();
  const [V, D] = [6, 7];
  const ids = [4, 1, 4, 0, 4];
  const expected = values(V * D, 6);
  const rows = values(ids.length * D, 7);
  const table = put(expected);
  kernels.addRows(table, put(rows), ids, D, V);
  ids.forEach((id, r) => {
    for (let d = 0; d < D; d++) expected[id * D + d] = (expected[id * D + d] ?? 0) + (rows[r * D + d] ?? 0);
  });
  expect(arena.f32(table, V * D).slice()).toEqual(expected);
  kernels.addRows(table, put(rows), Int32Array.of(5), D, V);
  expect(() => kernels.addRows(table, put(rows), [6], D, V)).toThrow('id 6 of row 0 is outside [0, 6)');
  expect(() => kernels.addRows(table, put(rows), [-1], D, V)).toThrow('outside');
});

test('gatherRows copies the named rows', () => {
  const { arena, kernels, put } = setUp();
  const [V, D] = [6, 7];
  const table = values(V * D, 8);
  const ids = Int32Array.of(5, 0, 5, 2);
  const out = put(new Float32Array(ids.length * D));
  kernels.gatherRows(out, put(table), ids, D, V);
  const expected = Float32Array.from(
    { length: ids.length * D },
    (_, i) => table[(ids[Math.floor(i / D)] ?? 0) * D + (i % D)] ?? NaN,
  );
  expect(arena.f32(out, ids.length * D).slice()).toEqual(expected);
  expect(() => kernels.gatherRows(out, put(table), [6], D, V)).toThrow('id 6 of row 0 is outside [0, 6)');
});

test('a range outside what is allocated is refused', () => {
  const { arena, kernels, put } = setUp();
  const x = put(new Float32Array(8));
  expect(() => kernels.scale(x, 9, 1)).toThrow('reach past');
  expect(() => kernels.scale(-4, 1, 1)).toThrow('non-negative');
  expect(() =>
    kernels.adamw(x, x, x, arena.bytesUsed, 1, {
      lr: 1,
      beta1: 0,
      beta2: 0,
      eps: 1,
      weightDecay: 0,
      step: 1,
      gradScale: 1,
    }),
  ).toThrow('adamw');
});

// Only the written pages take memory; the test writes about 1 MiB beyond 5 GiB.
test.skipIf(freemem() < 512 * 2 ** 20)(
  'kernels work beyond 4 GiB (skipped below 512 MiB of free memory)',
  () => {
    const arena = new Arena();
    const kernels = createKernels(arena);
    const n = 65537;
    arena.f32(arena.allocate(64), 16).fill(1);
    const resident = process.memoryUsage.rss();
    arena.allocate(5 * 2 ** 30);
    expect(process.memoryUsage.rss() - resident).toBeLessThan(64 * 2 ** 20);
    const [p, g, m, v] = [0, 1, 2, 3].map(() => arena.allocate(n * 4).offset);
    if (p === undefined || g === undefined || m === undefined || v === undefined)
      throw new Error('four offsets');
    expect(p).toBeGreaterThan(2 ** 32);
    kernels.fill(p, n, 1);
    kernels.fill(g, n, 0.5);
    kernels.adamw(p, g, m, v, n, {
      lr: 0.25,
      beta1: 0.5,
      beta2: 0.5,
      eps: 0,
      weightDecay: 0,
      step: 1,
      gradScale: 1,
    });
    expect(arena.f32(p, n).every((x) => x === 0.75)).toBe(true);
    expect(kernels.sumOfSquares(g, n)).toBe(n / 4);
    expect(kernels.allFinite(p, n)).toBe(true);
    kernels.f32ToBf16(g, p, n);
    kernels.bf16ToF32(m, g, n);
    expect(arena.f32(m, n)[n - 1]).toBe(0.75);
    kernels.addRows(p, m, [n - 1], 1, n);
    expect(arena.f32(p, n)[n - 1]).toBe(1.5);
    // A 32-bit offset would have wrapped round to the start.
    expect(arena.f32(0, 16).every((x) => x === 1)).toBe(true);
  },
);
