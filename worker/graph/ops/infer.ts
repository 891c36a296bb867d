import { invariant } from '#core/contract/errors.ts';
import type { Dim, TensorType } from '../types.ts';
import { formatShape, formatType, isFloat } from '../types.ts';

/** Checks shared by the ops' type inference. All throw `InvariantError`; the builder adds the op and the scope. */

/** The inputs of an op as a tuple of known length. */
export function takeInputs(inputs: readonly TensorType[], count: 1): readonly [TensorType];
export function takeInputs(inputs: readonly TensorType[], count: 2): readonly [TensorType, TensorType];
export function takeInputs(
  inputs: readonly TensorType[],
  count: 3,
): readonly [TensorType, TensorType, TensorType];
export function takeInputs(
  inputs: readonly TensorType[],
  count: 4,
): readonly [TensorType, TensorType, TensorType, TensorType];
export function takeInputs(inputs: readonly TensorType[], count: number): readonly TensorType[] {
  invariant(inputs.length === count, `takes ${count} inputs, got ${inputs.length}`);
  return inputs;
}

/** Requires a computable float type. */
export function requireFloat(...types: readonly TensorType[]): void {
  for (const type of types) {
    invariant(isFloat(type.dtype), `computes on float32 or float64, got ${formatType(type)}; cast it first`);
  }
  requireSameDType(types);
}

/** Requires one element type throughout. */
export function requireSameDType(types: readonly TensorType[]): void {
  const first = types[0];
  for (const type of types) {
    invariant(
      type.dtype === first?.dtype,
      `element types differ: ${types.map(formatType).join(' and ')}; cast one of them`,
    );
  }
}

/** The NumPy broadcast of two shapes; a symbolic size only matches itself or 1. */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[]): readonly Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_unused, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    invariant(
      left === right || left === 1 || right === 1,
      `shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast: ${left} against ${right}`,
    );
    return left === 1 ? right : left;
  });
}

/** Axes counted from the front and sorted; what is out of range is left for `checkAxes` to report. */
export function fromFront(axes: readonly number[], rank: number): readonly number[] {
  return axes.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
}

/** Requires sorted axes inside the type's rank, each named once. */
export function checkAxes(axes: readonly number[], type: TensorType): void {
  for (const axis of axes) {
    invariant(
      Number.isInteger(axis) && axis >= 0 && axis < type.shape.length,
      `axis ${axis} is outside ${formatType(type)}`,
    );
  }
  invariant(new Set(axes).size === axes.length, `axes [${axes.join(', ')}] name an axis twice`);
}

/** The size of an axis. */
export function dimAt(type: TensorType, axis: number): Dim {
  const dim = type.shape[axis < 0 ? axis + type.shape.length : axis];
  invariant(dim !== undefined, `axis ${axis} is outside ${formatType(type)}`);
  return dim;
}

/** The size of an axis, which must be a number. */
export function fixedDimAt(type: TensorType, axis: number): number {
  const dim = dimAt(type, axis);
  invariant(typeof dim === 'number', `axis ${axis} of ${formatType(type)} must have a fixed size`);
  return dim;
}
