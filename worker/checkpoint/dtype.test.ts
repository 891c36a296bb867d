import { expect, test } from 'vitest';
import { Arena, createKernels } from '#worker/kernels/index.ts';
import { decodeFloats, encodeFloats } from './index.ts';

test('conversions equal the kernels bit for bit, over all exponents and rounding cases', () => {
  const bits: number[] = [];
  for (let high = 0; high < 65536; high += 3) {
    for (const low of [0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff])
      bits.push(high * 65536 + low);
  }
  const n = bits.length;
  const arena = new Arena();
  const kernels = createKernels(arena);
  const [source, target] = [arena.allocate(n * 4), arena.allocate(n * 2)];
  const values = arena.f32(source, n);
  new Uint32Array(arena.memory.buffer, source.offset, n).set(bits);
  kernels.f32ToBf16(target.offset, source.offset, n);
  expect(Buffer.compare(encodeFloats(values, 'BF16'), arena.u8(target, n * 2))).toBe(0);
  kernels.f32ToF16(target.offset, source.offset, n);
  expect(Buffer.compare(encodeFloats(values, 'F16'), arena.u8(target, n * 2))).toBe(0);
});

test('decoding is exact, from unaligned bytes too', () => {
  const words = Uint16Array.from({ length: 65536 }, (_, i) => i);
  for (const dtype of ['BF16', 'F16'] as const) {
    const unaligned = Buffer.alloc(words.byteLength + 1);
    unaligned.set(new Uint8Array(words.buffer), 1);
    const back = new Uint16Array(encodeFloats(decodeFloats(unaligned.subarray(1), dtype), dtype).buffer);
    const infinity = dtype === 'BF16' ? 0x7f80 : 0x7c00;
    const isNaNWord = (word: number): boolean => (word & 0x7fff) > infinity;
    expect(back.every((word, i) => word === i || (isNaNWord(i) && isNaNWord(word)))).toBe(true);
  }
  const floats = Float32Array.of(1.5, -0, NaN);
  expect(decodeFloats(encodeFloats(floats, 'F32'), 'F32')).toEqual(floats);
});
