import { invariant } from '#core/contract/errors.ts';
import { sumOf } from '../dims.ts';
import { apply, applyAll, everywhere } from '../op-def.ts';
import type { OpDef, Value } from '../op-def.ts';
import { formatType, sameShape } from '../types.ts';
import type { Dim, TensorType } from '../types.ts';
import { checkAxes, dimAt, requireSameDType, takeInputs } from './infer.ts';
import { zeros } from './shape.ts';

/** Ops that move elements: permutation of axes, and cutting and joining along one axis. */

type PermAttrs = { readonly perm: readonly number[] };

const transposeOp: OpDef<PermAttrs> = {
  name: 'transpose',
  infer(inputs, { perm }) {
    const [x] = takeInputs(inputs, 1);
    const valid =
      perm.length === x.shape.length && [...perm].sort((a, b) => a - b).every((axis, i) => axis === i);
    invariant(valid, `[${perm.join(', ')}] is not an order of the axes of ${formatType(x)}`);
    return [{ dtype: x.dtype, shape: perm.map((axis) => dimAt(x, axis)) }];
  },
  vjp: ({ attrs: { perm }, grads: [dy] }) => [
    dy && transpose(dy, { perm: perm.map((_from, to) => perm.indexOf(to)) }),
  ],
  lower: everywhere(({ emitter, inputs, attrs: { perm } }) =>
    emitter.node('Transpose', inputs, { attrs: { perm } }),
  ),
};

/** Reorders the axes: axis `i` of the result is axis `perm[i]` of `x`. Large 2-D ones are slow: use matmul's flags. */
export function transpose(x: Value, { perm }: PermAttrs): Value {
  return apply(transposeOp, [x], { perm });
}

type SliceAttrs = { readonly axis: number; readonly start: number; readonly end: number | undefined };

const sliceOp: OpDef<SliceAttrs> = {
  name: 'slice',
  infer(inputs, { axis, start, end }) {
    const [x] = takeInputs(inputs, 1);
    checkAxes([axis], x);
    return [{ dtype: x.dtype, shape: replaceAt(x.shape, axis, slicedSize(x, axis, start, end)) }];
  },
  vjp: ({ inputs: [x], outputs: [y], grads: [dy], attrs: { axis, start } }) => {
    if (!x || !y || !dy) return [];
    const rest = restAfter(x.type, axis, start, y.type);
    const pad = (size: Dim): readonly Value[] =>
      size === 0 ? [] : [zeros(dy, { dtype: dy.dtype, shape: replaceAt(x.shape, axis, size) })];
    return [concat([...pad(start), dy, ...pad(rest)], { axis })];
  },
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { axis, start, end } }) =>
    emitter.node('Slice', [
      x,
      emitter.int64s([start]),
      emitter.int64s([end ?? Number.MAX_SAFE_INTEGER]),
      emitter.int64s([axis]),
    ]),
  ),
};

function slicedSize(x: TensorType, axis: number, start: number, end: number | undefined): Dim {
  const size = dimAt(x, axis);
  if (typeof size === 'string') {
    invariant(start >= 0, `a slice of ${formatType(x)} must start at the front of axis ${axis}`);
    if (end === undefined && start === 0) return size;
    invariant(end !== undefined, `a slice of ${formatType(x)} along ${size} needs an end`);
    invariant(end >= start, `slice ${start}..${end} is empty from the wrong side`);
    return end - start;
  }
  const stop = end ?? size;
  invariant(
    0 <= start && start <= stop && stop <= size,
    `slice ${start}..${stop} is outside axis ${axis} of ${formatType(x)}`,
  );
  return stop - start;
}

function restAfter(x: TensorType, axis: number, start: number, y: TensorType): Dim {
  const size = dimAt(x, axis);
  const taken = dimAt(y, axis);
  if (size === taken) return 0;
  invariant(
    typeof size === 'number' && typeof taken === 'number',
    `the gradient of a slice along the symbolic size ${size} is not supported`,
  );
  return size - start - taken;
}

function replaceAt(shape: readonly Dim[], axis: number, size: Dim): readonly Dim[] {
  return shape.map((dim, at) => (at === axis ? size : dim));
}

/** The elements `start` (inclusive) to `end` (exclusive; default: all the rest) along one axis. */
export function slice(
  x: Value,
  { axis, start, end }: { readonly axis: number; readonly start: number; readonly end?: number },
): Value {
  return apply(sliceOp, [x], { axis: axis < 0 ? axis + x.rank : axis, start, end });
}

type SplitAttrs = { readonly axis: number; readonly sizes: readonly number[] };

const splitOp: OpDef<SplitAttrs> = {
  name: 'split',
  infer(inputs, { axis, sizes }) {
    const [x] = takeInputs(inputs, 1);
    checkAxes([axis], x);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    invariant(
      total === dimAt(x, axis),
      `sizes [${sizes.join(', ')}] add up to ${total}, axis ${axis} of ${formatType(x)} is ${dimAt(x, axis)}`,
    );
    return sizes.map((size) => ({ dtype: x.dtype, shape: replaceAt(x.shape, axis, size) }));
  },
  vjp: ({ outputs, grads, attrs: { axis } }) => {
    const some = grads.find((grad) => grad !== undefined);
    if (some === undefined) return [];
    return [
      concat(
        outputs.map((y, i) => grads[i] ?? zeros(some, y.type)),
        { axis },
      ),
    ];
  },
  lower: everywhere(({ emitter, inputs: [x = ''], attrs: { axis, sizes } }) =>
    emitter.nodes('Split', [x, emitter.int64s(sizes)], { attrs: { axis }, outputs: sizes.length }),
  ),
};

/** Cuts `x` along one axis into pieces of the given sizes. */
export function split(x: Value, { axis, sizes }: SplitAttrs): readonly Value[] {
  return applyAll(splitOp, [x], { axis: axis < 0 ? axis + x.rank : axis, sizes });
}

type AxisAttrs = { readonly axis: number };

const concatOp: OpDef<AxisAttrs> = {
  name: 'concat',
  infer(inputs, { axis }) {
    const [first] = inputs;
    invariant(first !== undefined, 'takes at least one input');
    checkAxes([axis], first);
    requireSameDType(inputs);
    for (const other of inputs) {
      invariant(
        sameShape(replaceAt(first.shape, axis, 0), replaceAt(other.shape, axis, 0)),
        `${formatType(first)} and ${formatType(other)} differ outside axis ${axis}`,
      );
    }
    const size = sumOf(inputs.map((input) => dimAt(input, axis)));
    return [{ dtype: first.dtype, shape: replaceAt(first.shape, axis, size) }];
  },
  vjp: ({ inputs, grads: [dy], attrs: { axis } }) => {
    if (!dy) return [];
    const sizes = inputs.map((input) => dimAt(input.type, axis));
    const fixed = sizes.filter((size) => typeof size === 'number');
    invariant(
      fixed.length === sizes.length,
      `concat: the gradient along symbolic sizes [${sizes.join(', ')}] is not supported`,
    );
    return split(dy, { axis, sizes: fixed });
  },
  lower: {
    ...everywhere(({ emitter, inputs, attrs: { axis } }) =>
      emitter.node('Concat', inputs, { attrs: { axis } }),
    ),
    webgpu({ emitter, inputs, attrs: { axis } }) {
      let parts = inputs;
      while (parts.length > 1) {
        const joined: string[] = [];
        for (let from = 0; from < parts.length; from += JOINED_AT_ONCE) {
          const some = parts.slice(from, from + JOINED_AT_ONCE);
          joined.push(
            some.length === 1 ? (some[0] ?? '') : emitter.node('Concat', some, { attrs: { axis } }),
          );
        }
        parts = joined;
      }
      return parts;
    },
  },
};

/**
 * Inputs of one Concat on a GPU, where every adapter gives a program eight buffers. The provider takes more than there are buffers
 * for in turns, and fails at a turn of which all are empty.
 */
const JOINED_AT_ONCE = 7;

/** Joins values along one axis. */
export function concat(xs: readonly Value[], { axis }: AxisAttrs): Value {
  const [first] = xs;
  invariant(first !== undefined, 'concat: needs at least one value');
  return xs.length === 1 ? first : apply(concatOp, xs, { axis: axis < 0 ? axis + first.rank : axis });
}

/** The op definitions of this file, for the op table. */
export const layoutOps = { transposeOp, sliceOp, splitOp, concatOp };
