import { apply, everywhere } from '../op-def.ts';
import type { Attrs, Emitter, Lower, OpDef, Value } from '../op-def.ts';
import { productOf } from '../dims.ts';
import { invariant } from '#core/contract/errors.ts';
import type { DType, Dim } from '../types.ts';
import { formatType } from '../types.ts';
import { div, mul, sub } from './arithmetic.ts';
import { checkAxes, dimAt, fromFront, requireFloat, takeInputs } from './infer.ts';
import { cast, equal, onnxTypeOf } from './select.ts';
import { expand, keepReduced, reduceSum, squeeze, unsqueeze } from './shape.ts';
import type { ReduceOptions } from './shape.ts';
import { exp } from './unary.ts';

/** Means, maxima and the softmax family. */

type SizeAttrs = { readonly dim: Dim; readonly dtype: DType };

const sizeOp: OpDef<SizeAttrs> = {
  name: 'size',
  infer: (_inputs, { dtype }) => [{ dtype, shape: [] }],
  vjp: 'stop',
  lower: everywhere(({ emitter, attrs: { dim, dtype } }) => {
    const scalar = emitter.node('Squeeze', [emitter.shapeTensor([dim])]);
    return emitter.node('Cast', [scalar], { attrs: { to: onnxTypeOf[dtype] } });
  }),
};

/** The product of some sizes as a scalar of the graph `like` belongs to; a constant when all are numbers. */
export function sizeOf(like: Value, dims: readonly Dim[], dtype: DType): Value {
  const dim = productOf(dims);
  if (typeof dim === 'number') return like.sink.constant(dim, dtype);
  const [size] = like.sink.addNode(sizeOp, [], { dim, dtype });
  invariant(size !== undefined, 'size has one output');
  return size;
}

type CountAttrs = { readonly dim: string };

const countOp: OpDef<CountAttrs> = {
  name: 'count',
  infer: (_inputs, { dim }) => [{ dtype: 'int64', shape: [dim] }],
  vjp: 'stop',
  lower: everywhere(({ emitter, attrs: { dim } }) => {
    const end = emitter.node('Squeeze', [emitter.shapeTensor([dim])]);
    const scalar = (value: number) => emitter.constant({ dtype: 'int64', shape: [], data: [value] });
    return emitter.node('Range', [scalar(0), end, scalar(1)]);
  }),
};

/** 0, 1, 2 and so on as int64 [dim], in the graph `like` belongs to. */
export function count(like: Value, dim: string): Value {
  const [numbers] = like.sink.addNode(countOp, [], { dim });
  invariant(numbers !== undefined, 'count has one output');
  return numbers;
}

type AxesAttrs = { readonly axes: readonly number[] };

const lowerReduction = (opType: string): Lower<AxesAttrs> => {
  return ({ emitter, inputs: [x = ''], attrs: { axes } }) =>
    emitter.node(opType, [x, emitter.int64s(axes)], { attrs: { keepdims: 1 } });
};

const inferReduction: OpDef<AxesAttrs>['infer'] = (inputs, { axes }) => {
  const [x] = takeInputs(inputs, 1);
  requireFloat(x);
  checkAxes(axes, x);
  return [{ dtype: x.dtype, shape: keepReduced(x.shape, axes) }];
};

const reduceMeanOp: OpDef<AxesAttrs> = {
  name: 'reduceMean',
  infer: inferReduction,
  vjp: ({ inputs: [x], grads: [dy], attrs: { axes } }) => {
    if (!x || !dy) return [];
    const counted = axes.map((axis) => dimAt(x.type, axis));
    return [expand(div(dy, sizeOf(dy, counted, dy.dtype)), x.shape)];
  },
  lower: everywhere(lowerReduction('ReduceMean')),
};

const reduceMaxOp: OpDef<AxesAttrs> = {
  name: 'reduceMax',
  infer: inferReduction,
  vjp: ({ inputs: [x], outputs: [y], grads: [dy], attrs: { axes } }) => {
    if (!x || !y || !dy) return [];
    const largest = cast(equal(x, y), dy.dtype);
    return [mul(largest, div(dy, reduceSum(largest, { axes, keepDims: true })))];
  },
  lower: everywhere(lowerReduction('ReduceMax')),
};

function reduce(op: OpDef<AxesAttrs>, x: Value, { axes, keepDims = false }: ReduceOptions): Value {
  const front = fromFront(axes, x.rank);
  const reduced = apply(op, [x], { axes: front });
  return keepDims ? reduced : squeeze(reduced, { axes: front });
}

/** The mean over some axes. */
export const reduceMean = (x: Value, options: ReduceOptions): Value => reduce(reduceMeanOp, x, options);
/** The maximum over some axes; elements that tie share the gradient equally. */
export const reduceMax = (x: Value, options: ReduceOptions): Value => reduce(reduceMaxOp, x, options);

const inferRows: OpDef['infer'] = (inputs) => {
  const [x] = takeInputs(inputs, 1);
  requireFloat(x);
  invariant(x.shape.length > 0, `works along the last axis, ${formatType(x)} has none`);
  return [x];
};

const lastAxis = (opType: string): Lower<Attrs> => {
  return ({ emitter, inputs }) => emitter.node(opType, inputs, { attrs: { axis: -1 } });
};

const softmaxOp: OpDef = {
  name: 'softmax',
  infer: inferRows,
  vjp: ({ outputs: [y], grads: [dy] }) => {
    if (!y || !dy) return [];
    const weighted = mul(dy, y);
    return [sub(weighted, mul(y, reduceSum(weighted, { axes: [-1], keepDims: true })))];
  },
  lower: everywhere(lastAxis('Softmax')),
};

const logSoftmaxOp: OpDef = {
  name: 'logSoftmax',
  infer: inferRows,
  vjp: ({ outputs: [y], grads: [dy] }) => [
    y && dy && sub(dy, mul(exp(y), reduceSum(dy, { axes: [-1], keepDims: true }))),
  ],
  lower: {
    ...everywhere(lastAxis('LogSoftmax')),
    // The WebGPU provider leaves the op to the CPU.
    webgpu: ({ emitter, inputs: [x = ''] }) => emitter.node('Sub', [x, stableLogSumExp(emitter, x, true)]),
  },
};

const logSumExpOp: OpDef = {
  name: 'logSumExp',
  infer(inputs, attrs) {
    const [x] = inferRows(inputs, attrs);
    invariant(x !== undefined, 'gives one output');
    return [{ dtype: x.dtype, shape: x.shape.slice(0, -1) }];
  },
  vjp: ({ inputs: [x], grads: [dy] }) => [x && dy && mul(softmax(x), unsqueeze(dy, { axes: [-1] }))],
  // The kernel of the CPU runs in one thread, that of the WebGPU provider overflows at 89.
  lower: {
    ...everywhere(({ emitter, inputs: [x = ''] }) =>
      emitter.node('ReduceLogSumExp', [x, emitter.int64s([-1])], { attrs: { keepdims: 0 } }),
    ),
    cpu: ({ emitter, inputs: [x = ''] }) => logSumExpBySoftmax(emitter, x),
    webgpu: ({ emitter, inputs: [x = ''] }) => stableLogSumExp(emitter, x, false),
  },
};

/**
 * `ln sum e^x` along the last axis. The largest probability of a row is e^(max - ln sum e^x), so the softmax that a gradient
 * needs anyway (ONNX Runtime merges the two) gives the logarithm of the sum as well: 21 instead of 64 ms for 976 x 8192.
 */
export function logSumExpBySoftmax(emitter: Emitter, x: string): string {
  const axis = emitter.int64s([-1]);
  const largest = (of: string): string => emitter.node('ReduceMax', [of, axis], { attrs: { keepdims: 0 } });
  const probabilities = emitter.node('Softmax', [x], { attrs: { axis: -1 } });
  return emitter.node('Sub', [largest(x), emitter.node('Log', [largest(probabilities)])]);
}

/** `max + ln sum e^(x - max)` along the last axis. */
function stableLogSumExp(emitter: Emitter, x: string, keepDims: boolean): string {
  const axis = emitter.int64s([-1]);
  const largest = emitter.node('ReduceMax', [x, axis], { attrs: { keepdims: 1 } });
  const powers = emitter.node('Exp', [emitter.node('Sub', [x, largest])]);
  const sum = emitter.node('ReduceSum', [powers, axis], { attrs: { keepdims: 1 } });
  const total = emitter.node('Add', [emitter.node('Log', [sum]), largest]);
  return keepDims ? total : emitter.node('Squeeze', [total, axis]);
}

/** `e^x / sum e^x` along the last axis, with the maximum subtracted first. */
export const softmax = (x: Value): Value => apply(softmaxOp, [x], {});
/** The logarithm of `softmax` along the last axis. */
export const logSoftmax = (x: Value): Value => apply(logSoftmaxOp, [x], {});
/** `ln sum e^x` along the last axis, with the maximum subtracted first. */
export function logSumExp(x: Value, { keepDims = false }: { readonly keepDims?: boolean } = {}): Value {
  const sum = apply(logSumExpOp, [x], {});
  return keepDims ? unsqueeze(sum, { axes: [-1] }) : sum;
}

/** The op definitions of this file, for the op table. */
export const reduceOps = { sizeOp, countOp, reduceMeanOp, reduceMaxOp, softmaxOp, logSoftmaxOp, logSumExpOp };
