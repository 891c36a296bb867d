import { InvariantError, invariant } from '#core/contract/errors.ts';
import type { DType, TypedArray } from '#worker/graph/index.ts';

/**
 * A tensor as the engine holds it: a view of memory owned by someone else (an ordinary or a shared buffer, or a
 * WebAssembly memory), row-major, read and written in place. `bool` is one byte an element, `float16` and `bfloat16`
 * are their bits in a `Uint16Array`.
 */
export interface TensorView {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

const arrayOf = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
} as const satisfies Record<DType, unknown>;

/** A view of `data` as a tensor. @throws InvariantError when the array's type or length does not fit. */
export function tensorView(dtype: DType, shape: readonly number[], data: TypedArray): TensorView {
  const size = shape.reduce((product, dim) => product * dim, 1);
  invariant(
    data instanceof arrayOf[dtype] && data.length === size,
    `${dtype}[${shape.join(', ')}] needs a ${arrayOf[dtype].name} of ${size}, got ${data.constructor.name} of ${data.length}`,
  );
  return { dtype, shape, data };
}

/** A new tensor of zeros. */
export function zeroTensor(dtype: DType, shape: readonly number[]): TensorView {
  return { dtype, shape, data: new arrayOf[dtype](shape.reduce((product, dim) => product * dim, 1)) };
}

/** The element type of what ONNX Runtime returned. @throws InvariantError for types graphs do not have. */
export function dtypeOf(type: string): DType {
  for (const dtype of Object.keys(arrayOf)) if (dtype === type) return dtype as DType;
  throw new InvariantError(`ONNX Runtime returned a tensor of type ${type}, which graphs do not have`);
}
