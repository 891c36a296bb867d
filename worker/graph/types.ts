/**
 * Element types, symbolic shapes and tensor types of the graph IR.
 */

/** Element types a graph value can have. `float16` and `bfloat16` are storage types: cast to `float32` to compute. */
export type DType =
  'float32' | 'float64' | 'float16' | 'bfloat16' | 'int64' | 'int32' | 'uint16' | 'uint8' | 'int8' | 'bool';

/**
 * One size of a shape: a number, or a symbolic size. A symbolic size is a name (`'N'`), a product of names and at most
 * one number (`'4*B*S'`), or a sum in brackets (`'(M+N)'`). Equal strings are equal sizes.
 */
export type Dim = number | string;

/** Element type and shape of a value. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** Any typed array a constant or a tensor view can be backed by. */
export type TypedArray =
  Float32Array | Float64Array | BigInt64Array | Int32Array | Uint16Array | Uint8Array | Int8Array;

/** True for the types arithmetic and gradients are defined on. */
export function isFloat(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float64';
}

/** True for the signed integer types usable as indices. */
export function isIndex(dtype: DType): boolean {
  return dtype === 'int64' || dtype === 'int32';
}

/** `float32[N, 4]`: the text of a type in printed graphs and error messages. */
export function formatType(type: TensorType): string {
  return `${type.dtype}${formatShape(type.shape)}`;
}

/** `[N, 4]`: the text of a shape. */
export function formatShape(shape: readonly Dim[]): string {
  return `[${shape.join(', ')}]`;
}

/** True when both shapes have equal sizes throughout. */
export function sameShape(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}
