import { expect, test } from 'vitest';
import { LENGTHS, map, setUp, values } from './kernels.fixture.ts';

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
