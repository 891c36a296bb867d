import { DTYPE_BYTES, decodeFloats, findNotBelow, isFloatDtype } from './dtype.ts';
import type { TensorSource } from './safetensors.ts';

/** A NaN or an infinity among the weights. */
export interface NonFinite {
  readonly tensor: string;
  /** Position in the tensor, counted in elements. */
  readonly index: number;
  readonly value: number;
}

/** Elements looked at at a time. */
const CHUNK = 4 * 2 ** 20;

/**
 * The first NaN or infinite value in the F32, BF16 and F16 tensors, in the order of `tensors`; undefined when all are
 * finite. Other element types are not looked at.
 */
export function findNonFinite(source: TensorSource): NonFinite | undefined {
  const buffer = new ArrayBuffer(CHUNK * 4);
  for (const { name, dtype, begin, end } of source.tensors.values()) {
    if (!isFloatDtype(dtype)) continue;
    const width = DTYPE_BYTES[dtype];
    for (let from = 0; from < end - begin; from += CHUNK * width) {
      const bytes = new Uint8Array(buffer, 0, Math.min(CHUNK * width, end - begin - from));
      source.readInto(name, bytes, from);
      const values = decodeFloats(bytes, dtype);
      const at = findNotBelow(values, Infinity);
      if (at >= 0) return { tensor: name, index: from / width + at, value: values[at] ?? NaN };
    }
  }
  return undefined;
}
