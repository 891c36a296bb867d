import { invariant } from '#core/contract/errors.ts';
import { mayBeEqual, productOf, quotientOf } from '../dims.ts';
import { apply, everywhere } from '../op-def.ts';
import type { OpDef, Value } from '../op-def.ts';
import { formatShape, formatType, sameShape } from '../types.ts';
import type { Dim, TensorType } from '../types.ts';
import { broadcastShapes, checkAxes, fromFront, requireFloat, takeInputs } from './infer.ts';

/** Ops that give the same elements another shape, and broadcasting with its adjoint, the sum. */

type ShapeAttrs = { readonly shape: readonly Dim[] };
type AxesAttrs = { readonly axes: readonly number[] };

const reshapeOp: OpDef<ShapeAttrs> = {
  name: 'reshape',
  infer(inputs, { shape }) {
    const [x] = takeInputs(inputs, 1);
    invariant(
      mayBeEqual(productOf(x.shape), productOf(shape)),
      `${formatType(x)} has ${productOf(x.shape)} elements, ${formatShape(shape)} has ${productOf(shape)}`,
    );
    return [{ dtype: x.dtype, shape }];
  },
  vjp: ({ inputs: [x], grads: [dy] }) => [x && dy && reshape(dy, x.shape)],
  lower: everywhere(({ emitter, inputs: [x = ''], inputTypes: [from], attrs: { shape } }) =>
    emitter.node('Reshape', [x, reshapeTarget(emitter, from?.shape ?? [], shape)]),
  ),
};

/** ONNX Reshape takes 0 for "as before" and one -1 for "the rest"; only what they cannot say is computed from inputs. */
function reshapeTarget(
  emitter: Parameters<(typeof reshapeOp.lower)['cpu']>[0]['emitter'],
  from: readonly Dim[],
  to: readonly Dim[],
): string {
  const plain = to.map((dim, axis) => (typeof dim === 'number' ? dim : dim === from[axis] ? 0 : -1));
  const ambiguous = plain.filter((dim) => dim === -1).length > 1 || to.includes(0);
  return ambiguous ? emitter.shapeTensor(to) : emitter.int64s(plain);
}

/**
 * Gives `x` the shape `dims`; one `-1` takes what is left. Symbolic sizes are allowed in any number. Between different
 * names, as from [N, 8] to [B, S, 8], the caller says that they multiply to the same, and the run checks it.
 */
export function reshape(x: Value, dims: readonly Dim[]): Value {
  const known = dims.filter((dim) => dim !== -1);
  const rest = known.length < dims.length ? quotientOf(productOf(x.shape), productOf(known)) : undefined;
  const shape = dims.map((dim) => (dim === -1 && rest !== undefined ? rest : productOf([dim])));
  return sameShape(shape, x.shape) ? x : apply(reshapeOp, [x], { shape });
}

const unsqueezeOp: OpDef<AxesAttrs> = {
  name: 'unsqueeze',
  infer(inputs, { axes }) {
    const [x] = takeInputs(inputs, 1);
    const shape: Dim[] = [...x.shape];
    for (const axis of axes) {
      invariant(axis >= 0 && axis <= shape.length, `axis ${axis} cannot be added to ${formatType(x)}`);
      shape.splice(axis, 0, 1);
    }
    return [{ dtype: x.dtype, shape }];
  },
  vjp: ({ attrs: { axes }, grads: [dy] }) => [dy && squeeze(dy, { axes })],
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { axes } }) =>
    emitter.node('Unsqueeze', [x, emitter.int64s(axes)]),
  ),
};

/** Adds axes of size 1; `axes` are positions in the result. */
export function unsqueeze(x: Value, { axes }: { readonly axes: readonly number[] }): Value {
  return apply(unsqueezeOp, [x], { axes: fromFront(axes, x.rank + axes.length) });
}

const squeezeOp: OpDef<AxesAttrs> = {
  name: 'squeeze',
  infer(inputs, { axes }) {
    const [x] = takeInputs(inputs, 1);
    checkAxes(axes, x);
    for (const axis of axes)
      invariant(x.shape[axis] === 1, `axis ${axis} of ${formatType(x)} is not of size 1`);
    return [{ dtype: x.dtype, shape: x.shape.filter((_dim, axis) => !axes.includes(axis)) }];
  },
  vjp: ({ attrs: { axes }, grads: [dy] }) => [dy && unsqueeze(dy, { axes })],
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { axes } }) =>
    emitter.node('Squeeze', [x, emitter.int64s(axes)]),
  ),
};

/** Removes axes of size 1. */
export function squeeze(x: Value, { axes }: { readonly axes: readonly number[] }): Value {
  return apply(squeezeOp, [x], { axes: fromFront(axes, x.rank) });
}

const expandOp: OpDef<ShapeAttrs> = {
  name: 'expand',
  infer(inputs, { shape }) {
    const [x] = takeInputs(inputs, 1);
    const result = broadcastShapes(x.shape, shape);
    invariant(sameShape(result, shape), `${formatType(x)} does not expand to ${formatShape(shape)}`);
    return [{ dtype: x.dtype, shape }];
  },
  vjp: ({ inputs: [x], grads: [dy] }) => [x && dy && unbroadcast(dy, x.type)],
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { shape } }) =>
    emitter.node('Expand', [x, emitter.shapeTensor(shape)]),
  ),
};

/** Repeats `x` along its axes of size 1 and along new leading axes, to the shape `dims`. */
export function expand(x: Value, dims: readonly Dim[]): Value {
  const shape = dims.map((dim) => productOf([dim]));
  return sameShape(shape, x.shape) ? x : apply(expandOp, [x], { shape });
}

const reduceSumOp: OpDef<AxesAttrs> = {
  name: 'reduceSum',
  infer(inputs, { axes }) {
    const [x] = takeInputs(inputs, 1);
    requireFloat(x);
    checkAxes(axes, x);
    return [{ dtype: x.dtype, shape: keepReduced(x.shape, axes) }];
  },
  vjp: ({ inputs: [x], grads: [dy] }) => [x && dy && expand(dy, x.shape)],
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { axes } }) =>
    emitter.node('ReduceSum', [x, emitter.int64s(axes)], { attrs: { keepdims: 1 } }),
  ),
};

/** A shape with the reduced axes left in place with size 1. */
export function keepReduced(shape: readonly Dim[], axes: readonly number[]): readonly Dim[] {
  return shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
}

/** Options of the reductions. */
export interface ReduceOptions {
  readonly axes: readonly number[];
  /** Leaves the reduced axes in place with size 1. */
  readonly keepDims?: boolean;
}

/** The sum over some axes. */
export function reduceSum(x: Value, { axes, keepDims = false }: ReduceOptions): Value {
  if (axes.length === 0) return x;
  const front = fromFront(axes, x.rank);
  const sum = apply(reduceSumOp, [x], { axes: front });
  return keepDims ? sum : squeeze(sum, { axes: front });
}

/** Sums a gradient over the axes along which a value of type `target` was broadcast: the adjoint of `expand`. */
export function unbroadcast(gradient: Value, target: TensorType): Value {
  const leading = gradient.rank - target.shape.length;
  const axes = gradient.shape.flatMap((dim, axis) => {
    const before = axis < leading ? 1 : target.shape[axis - leading];
    return before === 1 && dim !== 1 ? [axis] : [];
  });
  return reshape(reduceSum(gradient, { axes, keepDims: true }), target.shape);
}

/** Zeros of a type. */
export function zeros(like: Value, type: TensorType): Value {
  return expand(like.sink.constant(0, type.dtype), type.shape);
}

/** The op definitions of this file, for the op table. */
export const shapeOps = { reshapeOp, unsqueezeOp, squeezeOp, expandOp, reduceSumOp };
