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

type CountAttrs = { readonly count: string };

const nonZeroOp: OpDef<CountAttrs> = {
  name: 'nonZero',
  infer(inputs, { count }) {
    const [condition] = takeInputs(inputs, 1);
    invariant(
      condition.dtype === 'bool' && condition.shape.length === 1,
      `takes a vector of bools, got ${formatType(condition)}`,
    );
    return [{ dtype: 'int64', shape: [count] }];
  },
  vjp: 'stop',
  lower: everywhere(({ emitter, inputs }) =>
    emitter.node('Squeeze', [emitter.node('NonZero', inputs), emitter.int64s([0])]),
  ),
};

/** The places of a vector at which `condition_N` holds, in order; `count` is what their number is called. */
export function nonZero(condition_N: Value, count: string): Value {
  return apply(nonZeroOp, [condition_N], { count });
}

const addRowsOp: OpDef = {
  name: 'addRows',
  infer(inputs) {
    const [x, indices, rows] = takeInputs(inputs, 3);
    requireFloat(x, rows);
    invariant(
      indices.dtype === 'int64' &&
        indices.shape.length === 1 &&
        sameShape(rows.shape, [...indices.shape, ...x.shape.slice(1)]),
      `adds a row of ${formatType(x)} for each int64 index, got ${formatType(rows)} and ${formatType(indices)}`,
    );
    return [x];
  },
  vjp: ({ inputs: [, indices], grads: [dy], needs }) =>
    indices && dy ? [dy, undefined, needs[2] ? gather(dy, indices, { axis: 0 }) : undefined] : [],
  lower: everywhere(({ emitter, inputs: [x = '', indices = '', rows = ''] }) =>
    emitter.node('ScatterND', [x, emitter.node('Unsqueeze', [indices, emitter.int64s([1])]), rows], {
      attrs: { reduction: 'add' },
    }),
  ),
};

/** `x` with `rows` added to those at `indices`, which must be unique: with equal ones the CPU provider's threads race. */
export function addRows(x: Value, indices: Value, rows: Value): Value {
  return apply(addRowsOp, [x, indices, rows], {});
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
export const indexingOps = {
  gatherOp,
  gatherElementsOp,
  scatterElementsOp,
  topKOp,
  nonZeroOp,
  addRowsOp,
};
