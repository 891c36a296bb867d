/** Half precision in the arena, widened by kernels. */
import type { Kernels } from '#worker/kernels/index.ts';

/** Types of 16 bits. */
export type HalfDtype = 'bfloat16' | 'float16';

/** Whether elements of type `dtype` have 16 bits. */
export function isHalf(dtype: string | undefined): dtype is HalfDtype {
  return dtype === 'bfloat16' || dtype === 'float16';
}

/** Writes `count` elements at byte offset `source` of the arena to byte offset `target` in float32; exact. */
export function widen(
  kernels: Kernels,
  dtype: HalfDtype,
  target: number,
  source: number,
  count: number,
): void {
  if (dtype === 'bfloat16') kernels.bf16ToF32(target, source, count);
  else kernels.f16ToF32(target, source, count);
}
