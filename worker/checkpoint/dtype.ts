import type { StoredDtype } from '#worker/model/index.ts';

/** Element types of safetensors files that this project reads and writes, with their size in bytes. */
export const DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** The name of an element type as it stands in a safetensors header. */
export type Dtype = keyof typeof DTYPE_BYTES;

/** The types a weight can be stored in by an export. */
export type FloatDtype = 'F32' | 'BF16' | 'F16';

/** The same types as graphs and `torch_dtype` of a config.json call them. */
export const STORED_DTYPES = {
  F32: 'float32',
  BF16: 'bfloat16',
  F16: 'float16',
} as const satisfies Record<FloatDtype, StoredDtype>;

/** Whether a name from a header is one of them. */
export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(DTYPE_BYTES, name);
}

/** Whether weights of this type can be trained from and exported. */
export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return dtype === 'F32' || dtype === 'BF16' || dtype === 'F16';
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** The bf16 word nearest to an f32 given by its bits, ties to even; NaN stays NaN. */
function bf16Word(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The fp16 word nearest to an f32 given by its bits, ties to even; 65520 and more is infinity. */
function f16Word(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal in fp16: the f32 sum with 0.5 is rounded at 2^-24, the fp16 subnormal unit.
    scratchBits[0] = magnitude;
    scratchFloat[0] = (scratchFloat[0] ?? 0) + 0.5;
    return sign | ((scratchBits[0] ?? 0) - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** The value of an fp16 word. */
function f16Value(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >>> 10) & 31;
  const fraction = word & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  // 1 << exponent is 2^exponent; the constant brings in the bias of 15 and the 10 fraction bits.
  return sign * (1024 + fraction) * (1 << exponent) * 2 ** -25;
}

/**
 * f32 values as little-endian bytes of `dtype`, rounded to nearest even. Plain JavaScript, for values that do not lie
 * in an arena; inside one, use the kernels.
 */
export function encodeFloats(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const words = new Uint16Array(values.length);
  // Loops with one known callee each: calling through a variable is several times slower.
  if (dtype === 'BF16') for (let i = 0; i < words.length; i++) words[i] = bf16Word(bits[i] ?? 0);
  else for (let i = 0; i < words.length; i++) words[i] = f16Word(bits[i] ?? 0);
  return new Uint8Array(words.buffer);
}

/** Little-endian bytes of `dtype` as f32 values. Exact. */
export function decodeFloats(bytes: Uint8Array, dtype: FloatDtype): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  if (dtype === 'F32') return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
  const words = new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.length / 2);
  const values = new Float32Array(words.length);
  const bits = new Uint32Array(values.buffer);
  if (dtype === 'BF16') for (let i = 0; i < words.length; i++) bits[i] = (words[i] ?? 0) << 16;
  else for (let i = 0; i < words.length; i++) values[i] = f16Value(words[i] ?? 0);
  return values;
}

/** The smallest magnitude that rounds to infinity, by element type. */
export const OVERFLOW = { F32: Infinity, BF16: 2 ** 128 * (1 - 2 ** -9), F16: 65520 } as const;

/** The position of the first value whose magnitude is not below `limit` (NaN is below nothing); -1 when all are. */
export function findNotBelow(values: Float32Array, limit: number): number {
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i] ?? 0) < limit)) return i;
  return -1;
}
