import { invariant } from '#core/contract/errors.ts';
import { apply, applyAll, everywhere } from '../op-def.ts';
import type { OpDef, Value } from '../op-def.ts';
import { formatType, isIndex, sameShape } from '../types.ts';
import type { DType, TensorType } from '../types.ts';
import { checkAxes, dimAt, requireFloat, requireSameDType, takeInputs } from './infer.ts';
import { cast, equal } from './select.ts';
import { unsqueeze, zeros } from './shape.ts';

/** Ops that pick elements by index. */

type AxisAttrs = { readonly axis: number };

function requireIndex(type: TensorType): void {
  invariant(isIndex(type.dtype), `indices are int64 or int32, got ${formatType(type)}`);
}

const gatherOp: OpDef<AxisAttrs> = {
  name: 'gather',
  infer(inputs, { axis }) {
    const [x, indices] = takeInputs(inputs, 2);
    checkAxes([axis], x);
    requireIndex(indices);
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    return [{ dtype: x.dtype, shape }];
  },
  vjp: {
    unsupported:
      'repeated indices would need a scatter-add, which races in the CPU provider; add up the rows outside the graph',
  },
  lower: everywhere(({ emitter, inputs, attrs: { axis } }) =>
    emitter.node('Gather', inputs, { attrs: { axis } }),
  ),
};

/** Whole slices of `x` along `axis`, one per index. Not differentiable in `x`: the engine adds up such gradients. */
export function gather(x: Value, indices: Value, { axis }: AxisAttrs): Value {
  return apply(gatherOp, [x, indices], { axis: axis < 0 ? axis + x.rank : axis });
}

/** Elementwise indices have the shape of the data except along the axis. */
function requireAligned(x: TensorType, indices: TensorType, axis: number): void {
  checkAxes([axis], x);
  requireIndex(indices);
  const aligned =
    indices.shape.length === x.shape.length &&
    x.shape.every((dim, at) => at === axis || dim === indices.shape[at]);
  invariant(aligned, `indices ${formatType(indices)} and ${formatType(x)} differ outside axis ${axis}`);
}

const gatherElementsOp: OpDef<AxisAttrs> = {
  name: 'gatherElements',
  infer(inputs, { axis }) {
    const [x, indices] = takeInputs(inputs, 2);
    requireAligned(x, indices, axis);
    return [{ dtype: x.dtype, shape: indices.shape }];
  },
  vjp: ({ inputs: [x, indices], grads: [dy], attrs: { axis } }) => [
    x && indices && dy && scatterElements(zeros(dy, x.type), indices, dy, { axis }),
  ],
  lower: everywhere(({ emitter, inputs, attrs: { axis } }) =>
    emitter.node('GatherElements', inputs, { attrs: { axis } }),
  ),
};

/**
 * Single elements along `axis`: `y[i, j] = x[i, indices[i, j]]` for the last axis of a matrix.
 * The gradient is right only when the indices along the axis are unique (as those of a top-k are): it is written by a
 * scatter without addition.
 */
export function gatherElements(x: Value, indices: Value, { axis }: AxisAttrs): Value {
  return apply(gatherElementsOp, [x, indices], { axis: axis < 0 ? axis + x.rank : axis });
}

const scatterElementsOp: OpDef<AxisAttrs> = {
  name: 'scatterElements',
  infer(inputs, { axis }) {
    const [x, indices, updates] = takeInputs(inputs, 3);
    requireAligned(x, indices, axis);
    requireSameDType([x, updates]);
    invariant(
      sameShape(indices.shape, updates.shape),
      `indices ${formatType(indices)} and updates ${formatType(updates)} differ`,
    );
    return [x];
  },
  vjp: ({ inputs: [, indices, updates], grads: [dy], attrs: { axis }, needs }) => {
    if (!indices || !updates || !dy) return [];
    const toX = (): Value => scatterElements(dy, indices, zeros(dy, updates.type), { axis });
    return [
      needs[0] ? toX() : undefined,
      undefined,
      needs[2] ? gatherElements(dy, indices, { axis }) : undefined,
    ];
  },
  lower: everywhere(({ emitter, inputs, attrs: { axis } }) =>
    emitter.node('ScatterElements', inputs, { attrs: { axis } }),
  ),
};

/** `x` with the elements at `indices` along `axis` replaced by `updates`; indices along the axis must be unique. */
export function scatterElements(x: Value, indices: Value, updates: Value, { axis }: AxisAttrs): Value {
  return apply(scatterElementsOp, [x, indices, updates], { axis: axis < 0 ? axis + x.rank : axis });
}

type TopKAttrs = { readonly k: number };

const topKOp: OpDef<TopKAttrs> = {
  name: 'topK',
  infer(inputs, { k }) {
    const [x] = takeInputs(inputs, 1);
    requireFloat(x);
    const size = dimAt(x, -1);
    invariant(
      Number.isInteger(k) && k >= 1 && (typeof size === 'string' || k <= size),
      `k = ${k} is outside the last axis of ${formatType(x)}`,
    );
    const shape = [...x.shape.slice(0, -1), k];
    return [
      { dtype: x.dtype, shape },
      { dtype: 'int64', shape },
    ];
  },
  vjp: 'stop',
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { k } }) =>
    emitter.nodes('TopK', [x, emitter.int64s([k])], { attrs: { axis: -1 }, outputs: 2 }),
  ),
};

/**
 * The `k` largest elements along the last axis, largest first, and their int64 indices. Both are constants to
 * differentiation: gather the values again by the indices to let a gradient through.
 */
export function topK(x: Value, { k }: TopKAttrs): { readonly values: Value; readonly indices: Value } {
  const [values, indices] = applyAll(topKOp, [x], { k });
  invariant(values !== undefined && indices !== undefined, 'topK gives two outputs');
  return { values, indices };
}

/** 1 where the new last axis of size `depth` equals the index, else 0. */
export function oneHot(indices: Value, depth: number, dtype: DType = 'float32'): Value {
  const narrow = indices.dtype === 'int32';
  const data = narrow
    ? Int32Array.from({ length: depth }, (_unused, i) => i)
    : BigInt64Array.from({ length: depth }, (_unused, i) => BigInt(i));
  const range = indices.sink.constant({ dtype: indices.dtype, shape: [depth], data });
  return cast(equal(unsqueeze(indices, { axes: [-1] }), range), dtype);
}

/** The op definitions of this file, for the op table. */
export const indexingOps = { gatherOp, gatherElementsOp, scatterElementsOp, topKOp };
