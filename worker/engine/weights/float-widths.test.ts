import { expect, test } from 'vitest';
import { Arena, createKernels } from '#worker/kernels/index.ts';
import { tensorView } from '#worker/runtime/index.ts';
import { FloatWidths } from './float-widths.ts';

const arena = new Arena();
const widths = new FloatWidths(arena, createKernels(arena));

const float32 = (...values: number[]) => tensorView('float32', [values.length], Float32Array.from(values));
const bfloat16 = (...words: number[]) => tensorView('bfloat16', [words.length], Uint16Array.from(words));

test('float32 is rounded to the nearest float16, and bfloat16 within its range is kept', () => {
  // 1 + 2⁻¹¹ lies between two neighbours and goes to the even one; 2⁻²⁴ is the smallest.
  expect(widths.toFloat16(float32(1, 1 + 2 ** -11, -(2 ** -24), 65_504))).toEqual(
    tensorView('float16', [4], Uint16Array.of(0x3c00, 0x3c00, 0x8001, 0x7bff)),
  );
  const kept = widths.toFloat16(bfloat16(0x3f80, 0xc049));
  expect([...widths.widened(kept, (values) => values.slice())]).toEqual([1, -3.140625]);
  expect(widths.toFloat16(kept)).toBe(kept);
});

test('what has no room in float16 is told', () => {
  expect(widths.fitsFloat16(float32(-65_519, 0))).toBe(true);
  for (const beyond of [65_520, -1e5, Infinity, NaN])
    expect(widths.fitsFloat16(float32(1, beyond)), String(beyond)).toBe(false);
  // 65,280 and 65,536.
  expect([0x477f, 0x4780].map((word) => widths.fitsFloat16(bfloat16(word)))).toEqual([true, false]);
});
