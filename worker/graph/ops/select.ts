import { invariant } from '#core/contract/errors.ts';
import { apply, everywhere, onnxOp } from '../op-def.ts';
import type { OpDef, Value } from '../op-def.ts';
import { formatType, isFloat } from '../types.ts';
import type { DType, TensorType } from '../types.ts';
import { broadcastShapes, requireSameDType, takeInputs } from './infer.ts';
import { unbroadcast } from './shape.ts';

/** Conversion, comparison, logic and choice. */

/** A value, or a number that becomes a scalar constant of the other operand's type. */
export type Operand = Value | number;

/** Turns numbers beside a value into scalar constants of its element type. */
export function asValues(a: Operand, b: Operand): readonly [Value, Value] {
  if (typeof a !== 'number') return [a, typeof b === 'number' ? a.sink.constant(b, a.dtype) : b];
  invariant(typeof b !== 'number', 'an op needs at least one value');
  return [b.sink.constant(a, b.dtype), b];
}

const isHalf = (dtype: DType): boolean => dtype === 'float16' || dtype === 'bfloat16';

/** The numbers ONNX gives the element types. */
export const onnxTypeOf: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

type CastAttrs = { readonly dtype: DType };

const castOp: OpDef<CastAttrs> = {
  name: 'cast',
  infer(inputs, { dtype }) {
    const [x] = takeInputs(inputs, 1);
    return [{ dtype, shape: x.shape }];
  },
  vjp: ({ inputs: [x], grads: [dy] }) => [x && dy && isFloat(x.dtype) ? cast(dy, x.dtype) : undefined],
  // Half floats travel as uint16 because bfloat16 tensors cannot cross the JavaScript boundary and a Float16Array is
  // refused there; their bits get their meaning only at the conversion.
  lower: {
    ...everywhere(({ emitter, inputs: [x = ''], inputTypes: [from], attrs: { dtype } }) => {
      const half = from !== undefined && isHalf(from.dtype);
      const bits = half ? emitter.node('BitCast', [x], { attrs: { to: onnxTypeOf[from.dtype] } }) : x;
      const converted = emitter.node('Cast', [bits], { attrs: { to: onnxTypeOf[dtype] } });
      return isHalf(dtype)
        ? emitter.node('BitCast', [converted], { attrs: { to: onnxTypeOf.uint16 } })
        : converted;
    }),
    // In files half floats have their own types.
    portable: ({ emitter, inputs, attrs: { dtype } }) =>
      emitter.node('Cast', inputs, { attrs: { to: onnxTypeOf[dtype] } }),
    webgpu: ({ emitter, inputs: [x = ''], inputTypes: [from], attrs: { dtype } }) => {
      invariant(
        !isHalf(dtype) && from?.dtype !== 'bfloat16',
        'a GPU widens float16 only: its provider has neither bfloat16 nor BitCast',
      );
      return emitter.node('Cast', [x], { attrs: { to: onnxTypeOf[dtype] } });
    },
  },
};

/** Converts the element type. `float16` and `bfloat16` values are bits that only this op gives a meaning. */
export function cast(x: Value, dtype: DType): Value {
  return x.dtype === dtype ? x : apply(castOp, [x], { dtype });
}

const stopGradientOp: OpDef = {
  name: 'stopGradient',
  infer: (inputs) => takeInputs(inputs, 1),
  vjp: 'stop',
  lower: everywhere(({ inputs: [x = ''] }) => x),
};

/** `x` itself, taken as a constant by differentiation. */
export function stopGradient(x: Value): Value {
  return apply(stopGradientOp, [x], {});
}

function compareOp(name: string, opType: string): OpDef {
  return {
    name,
    infer(inputs) {
      const [a, b] = takeInputs(inputs, 2);
      requireSameDType([a, b]);
      return [{ dtype: 'bool', shape: broadcastShapes(a.shape, b.shape) }];
    },
    vjp: 'stop',
    lower: onnxOp(opType),
  };
}

const equalOp = compareOp('equal', 'Equal');
const greaterOp = compareOp('greater', 'Greater');
const lessOp = compareOp('less', 'Less');
const greaterOrEqualOp = compareOp('greaterOrEqual', 'GreaterOrEqual');
const lessOrEqualOp = compareOp('lessOrEqual', 'LessOrEqual');

/** Elementwise `a = b`, as bool. */
export const equal = (a: Operand, b: Operand): Value => apply(equalOp, asValues(a, b), {});
/** Elementwise `a > b`, as bool. */
export const greater = (a: Operand, b: Operand): Value => apply(greaterOp, asValues(a, b), {});
/** Elementwise `a < b`, as bool. */
export const less = (a: Operand, b: Operand): Value => apply(lessOp, asValues(a, b), {});
/** Elementwise `a >= b`, as bool. */
export const greaterOrEqual = (a: Operand, b: Operand): Value => apply(greaterOrEqualOp, asValues(a, b), {});
/** Elementwise `a <= b`, as bool. */
export const lessOrEqual = (a: Operand, b: Operand): Value => apply(lessOrEqualOp, asValues(a, b), {});

function requireBool(...types: readonly TensorType[]): void {
  for (const type of types) invariant(type.dtype === 'bool', `takes bool, got ${formatType(type)}`);
}

function logicOp(name: string, opType: string): OpDef {
  return {
    name,
    infer(inputs) {
      const [a, b] = takeInputs(inputs, 2);
      requireBool(a, b);
      return [{ dtype: 'bool', shape: broadcastShapes(a.shape, b.shape) }];
    },
    vjp: 'stop',
    lower: onnxOp(opType),
  };
}

const andOp = logicOp('and', 'And');
const orOp = logicOp('or', 'Or');
const notOp: OpDef = {
  name: 'not',
  infer(inputs) {
    const [x] = takeInputs(inputs, 1);
    requireBool(x);
    return [x];
  },
  vjp: 'stop',
  lower: onnxOp('Not'),
};

/** Elementwise conjunction of bools. */
export const and = (a: Value, b: Value): Value => apply(andOp, [a, b], {});
/** Elementwise disjunction of bools. */
export const or = (a: Value, b: Value): Value => apply(orOp, [a, b], {});
/** Elementwise negation of bools. */
export const not = (x: Value): Value => apply(notOp, [x], {});

const whereOp: OpDef = {
  name: 'where',
  infer(inputs) {
    const [condition, a, b] = takeInputs(inputs, 3);
    requireBool(condition);
    requireSameDType([a, b]);
    return [{ dtype: a.dtype, shape: broadcastShapes(condition.shape, broadcastShapes(a.shape, b.shape)) }];
  },
  vjp: ({ inputs: [condition, a, b], grads: [dy], needs }) => {
    if (!condition || !a || !b || !dy) return [];
    return [
      undefined,
      needs[1] ? unbroadcast(where(condition, dy, 0), a.type) : undefined,
      needs[2] ? unbroadcast(where(condition, 0, dy), b.type) : undefined,
    ];
  },
  lower: onnxOp('Where'),
};

/** `a` where `condition` holds, else `b`, with broadcasting. */
export function where(condition: Value, a: Operand, b: Operand): Value {
  return apply(whereOp, [condition, ...asValues(a, b)], {});
}

/** The op definitions of this file, for the op table. */
export const selectOps = {
  castOp,
  stopGradientOp,
  equalOp,
  greaterOp,
  lessOp,
  greaterOrEqualOp,
  lessOrEqualOp,
  andOp,
  orOp,
  notOp,
  whereOp,
};
