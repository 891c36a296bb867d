import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { expect, test } from 'vitest';
import { compileKernels } from './build.ts';
import { Arena, createKernels, type AdamWOptions } from './index.ts';

/** Lengths around the vector width, and odd ones. */
const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 33, 1001];
const SPECIAL = [0, -0, 1, -1, NaN, Infinity, -Infinity, 1e-45, -1e-45, 1.17e-38, 3.4028235e38, -3.4e38];

/** Reproducible floats over many magnitudes, special values among them. */
function values(n: number, seed: number, special = false): Float32Array {
  let state = seed * 2654435761 + 1;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: n }, (_, i) =>
    special && i % 5 === 3
      ? (SPECIAL[(i + seed) % SPECIAL.length] ?? 0)
      : (next() * 2 - 1) * 2 ** (next() * 12 - 6),
  );
}

/** An arena that begins at an unaligned offset, and a way to put arrays into it one after the other without gaps. */
function setUp(align = 4) {
  const arena = new Arena();
  const kernels = createKernels(arena);
  arena.allocate(align, 1);
  const put = (data: Float32Array | Uint16Array): number => {
    const { offset } = arena.allocate(data.byteLength, data.BYTES_PER_ELEMENT);
    if (data instanceof Float32Array) arena.f32(offset, data.length).set(data);
    else arena.u16(offset, data.length).set(data);
    return offset;
  };
  return { arena, kernels, put };
}

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
const map = (x: Float32Array, f: (value: number, i: number) => number): Float32Array =>
  Float32Array.from(x, f);

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

/** The bits of `value` rounded to a 16-bit format with `fraction` bits, by comparing with the neighbours. */
const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
const fromBits = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0] ?? 0;

test('bf16 to f32 and back is exact for all 65536 words', () => {
  const { arena, kernels, put } = setUp(2);
  const words = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const source = put(words);
  const wide = put(new Float32Array(65536));
  const back = put(new Uint16Array(65536));
  kernels.bf16ToF32(wide, source, 65536);
  expect(arena.f32(wide, 65536).every((x, i) => Object.is(x, fromBits(i * 65536)))).toBe(true);
  kernels.f32ToBf16(back, wide, 65536);
  const isNaNWord = (w: number): boolean => (w & 0x7fff) > 0x7f80;
  expect(arena.u16(back, 65536).every((w, i) => (isNaNWord(i) ? isNaNWord(w) : w === i))).toBe(true);
});

test('f32 to bf16 rounds to nearest even', () => {
  const cases: readonly (readonly [number, number])[] = [
    [0x3f808000, 0x3f80], // halfway, even stays
    [0x3f818000, 0x3f82], // halfway, odd goes up
    [0x3f808001, 0x3f81],
    [0x3f807fff, 0x3f80],
    [0x7f7fffff, 0x7f80], // the largest f32 rounds to infinity
    [0xff800000, 0xff80],
    [0x7f800001, 0x7fc0], // a NaN whose upper half alone would read as infinity
    [0x80000000, 0x8000],
    [0x00008001, 0x0001],
  ];
  const { arena, kernels, put } = setUp();
  const x = arena.allocate(cases.length * 4);
  new Uint32Array(arena.memory.buffer, x.offset, cases.length).set(cases.map(([bits]) => bits));
  const y = put(new Uint16Array(cases.length));
  kernels.f32ToBf16(y, x.offset, cases.length);
  expect([...arena.u16(y, cases.length)]).toEqual(cases.map(([, word]) => word));
});

/** The value of an fp16 word by its definition. */
function f16Value(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

test('f16 to f32 and back is exact for all 65536 words, subnormals included', () => {
  const { arena, kernels, put } = setUp(2);
  const source = put(Uint16Array.from({ length: 65536 }, (_, i) => i));
  const wide = put(new Float32Array(65536));
  const back = put(new Uint16Array(65536));
  kernels.f16ToF32(wide, source, 65536);
  expect(arena.f32(wide, 65536).every((x, i) => Object.is(x, f16Value(i)))).toBe(true);
  kernels.f32ToF16(back, wide, 65536);
  expect(
    arena.u16(back, 65536).every((w, i) => (Number.isNaN(f16Value(i)) ? Number.isNaN(f16Value(w)) : w === i)),
  ).toBe(true);
});

test('f32 to f16 rounds to nearest even between every two neighbours', () => {
  // For each pair of neighbouring words: their middle goes to the even one, a unit in the last place beside it to the nearer.
  const cases: (readonly [number, number])[] = [];
  for (let word = 0; word < 0x7c00; word++) {
    const next = word + 1 === 0x7c00 ? 65536 : f16Value(word + 1);
    const middle = (f16Value(word) + next) / 2;
    const bits = bitsOf(middle);
    cases.push([middle, word + (word & 1)], [fromBits(bits - 1), word], [fromBits(bits + 1), word + 1]);
  }
  const { arena, kernels, put } = setUp();
  const n = cases.length;
  const y = put(new Uint16Array(n));
  for (const sign of [1, -1]) {
    kernels.f32ToF16(y, put(Float32Array.from(cases, ([x]) => x * sign)), n);
    const expected = Uint16Array.from(cases, ([, word]) => word + (sign < 0 ? 0x8000 : 0));
    expect(arena.u16(y, n).slice()).toEqual(expected);
  }
});

test('16-bit conversions handle every length and leave the neighbours alone', () => {
  for (const n of LENGTHS) {
    const { arena, kernels, put } = setUp(2);
    const x = put(map(values(n, 5), (v) => fromBits(bitsOf(v) & 0xffff0000)));
    const y = put(new Uint16Array(n + 1).fill(7));
    const z = put(new Float32Array(n + 1).fill(7));
    kernels.f32ToBf16(y, x, n);
    kernels.bf16ToF32(z, y, n);
    expect(arena.u16(y, n + 1)[n]).toBe(7);
    expect(arena.f32(z, n + 1).slice()).toEqual(Float32Array.of(...arena.f32(x, n), 7));
    kernels.f32ToF16(y, x, n);
    kernels.f16ToF32(z, y, n);
    expect(arena.u16(y, n + 1)[n]).toBe(7);
    expect(arena.f32(z, n + 1).slice()).toEqual(
      Float32Array.of(...map(arena.f32(x, n), (v) => Math.fround(roundF16(v))), 7),
    );
  }
});

test('bf16 at random is one of the two neighbours, on every length, and the value on average', () => {
  for (const n of LENGTHS) {
    const { arena, kernels, put } = setUp(2);
    const x = values(n, 5);
    const y = put(new Uint16Array(n + 1).fill(7));
    kernels.f32ToBf16AtRandom(y, put(x), n, { key: 0x12345678, first: 0xfffffff0 });
    const bits = [...x].map((value, i) => {
      const noise = (Math.imul(0xfffffff0 + i, 0x9e3779b9) + 0x12345678) >>> 16;
      return (bitsOf(value) + noise) >>> 16;
    });
    expect([...arena.u16(y, n + 1)]).toEqual([...bits, 7]);
  }
  const { arena, kernels, put } = setUp();
  const third = fromBits(0x3f800000 + 0x5555);
  const y = put(new Uint16Array(3000));
  kernels.f32ToBf16AtRandom(y, put(new Float32Array(3000).fill(third)), 3000, { key: 1, first: 0 });
  const up = arena.u16(y, 3000).reduce((sum, word) => sum + (word - 0x3f80), 0);
  expect(up / 3000).toBeCloseTo(1 / 3, 2);
});

test('8-bit floats keep the largest value, small ones to the least, and zeros', () => {
  const n = 512;
  const { arena, kernels, put } = setUp(256);
  const x = new Float32Array(n).fill(1e-20);
  x.set([3, 1.5, 0, 3 * 2 ** -40]);
  x.fill(0, 256);
  const [source, codes, scales, back] = [
    put(x),
    put(new Uint16Array(n / 2)),
    put(new Float32Array(2)),
    put(x),
  ];
  // Nothing unsigned is zero beside a larger value: it will be divided by.
  const least = 3 * 1.125 * 2 ** -32;
  for (const [kind, small] of [
    ['signed8', [0, 0]],
    ['unsigned8', [least, least]],
  ] as const) {
    kernels.f32ToFloat8(kind, codes, scales, source, n, { key: 9, first: 0 });
    expect([...arena.f32(scales, 2)]).toEqual([3, 0]);
    kernels.float8ToF32(kind, back, codes, scales, n);
    expect([...arena.f32(back, 4)]).toEqual([3, 1.5, ...small]);
    const zeros = arena.f32(back, n).subarray(256);
    expect(zeros.every((value) => value === 0)).toBe(true);
  }
  expect(() => kernels.float8ToF32('signed8', back, codes, scales, 255)).toThrow('no whole blocks');
});

/** Rounds to 11 significant bits; right for the normal range of fp16. */
function roundF16(x: number): number {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10);
  const scaled = x / unit;
  const low = Math.floor(scaled);
  const up = scaled - low > 0.5 || (scaled - low === 0.5 && low % 2 !== 0);
  return (up ? low + 1 : low) * unit;
}

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
