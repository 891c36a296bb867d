import { invariant } from '#core/contract/errors.ts';
import { apply, onnxOp } from '../op-def.ts';
import type { Attrs, OpDef, Value, Vjp } from '../op-def.ts';
import { formatType } from '../types.ts';
import { broadcastShapes, requireSameDType, takeInputs } from './infer.ts';
import { asValues, greaterOrEqual, where } from './select.ts';
import type { Operand } from './select.ts';
import { unbroadcast } from './shape.ts';

/** Elementwise arithmetic of two operands with NumPy broadcasting. */

function arithmeticOp(name: string, opType: string, vjp: Vjp<Attrs>): OpDef {
  return {
    name,
    infer(inputs) {
      const [a, b] = takeInputs(inputs, 2);
      requireSameDType([a, b]);
      const computable = ['float32', 'float64', 'int64', 'int32'].includes(a.dtype);
      invariant(computable, `does not compute on ${formatType(a)}; cast it first`);
      return [{ dtype: a.dtype, shape: broadcastShapes(a.shape, b.shape) }];
    },
    vjp,
    lower: onnxOp(opType),
  };
}

/** A rule from the gradients of both operands before broadcasting is undone; each is built only when needed. */
function broadcastRule(
  toA: (dy: Value, a: Value, b: Value) => Value,
  toB: (dy: Value, a: Value, b: Value) => Value,
): Vjp<Attrs> {
  return ({ inputs: [a, b], grads: [dy], needs }) =>
    a && b && dy
      ? [
          needs[0] ? unbroadcast(toA(dy, a, b), a.type) : undefined,
          needs[1] ? unbroadcast(toB(dy, a, b), b.type) : undefined,
        ]
      : [];
}

const addOp = arithmeticOp(
  'add',
  'Add',
  broadcastRule(
    (dy) => dy,
    (dy) => dy,
  ),
);

const subOp = arithmeticOp(
  'sub',
  'Sub',
  broadcastRule(
    (dy) => dy,
    (dy) => mul(dy, -1),
  ),
);

const mulOp = arithmeticOp(
  'mul',
  'Mul',
  broadcastRule(
    (dy, _a, b) => mul(dy, b),
    (dy, a) => mul(dy, a),
  ),
);

const divOp = arithmeticOp(
  'div',
  'Div',
  broadcastRule(
    (dy, _a, b) => div(dy, b),
    (dy, a, b) => mul(div(mul(dy, a), mul(b, b)), -1),
  ),
);

const maximumOp = arithmeticOp(
  'maximum',
  'Max',
  broadcastRule(
    (dy, a, b) => where(greaterOrEqual(a, b), dy, 0),
    (dy, a, b) => where(greaterOrEqual(a, b), 0, dy),
  ),
);

const minimumOp = arithmeticOp(
  'minimum',
  'Min',
  broadcastRule(
    (dy, a, b) => where(greaterOrEqual(b, a), dy, 0),
    (dy, a, b) => where(greaterOrEqual(b, a), 0, dy),
  ),
);

/** `a + b`. */
export const add = (a: Operand, b: Operand): Value => apply(addOp, asValues(a, b), {});
/** `a - b`. */
export const sub = (a: Operand, b: Operand): Value => apply(subOp, asValues(a, b), {});
/** `a * b`. */
export const mul = (a: Operand, b: Operand): Value => apply(mulOp, asValues(a, b), {});
/** `a / b`; integers are divided towards zero. */
export const div = (a: Operand, b: Operand): Value => apply(divOp, asValues(a, b), {});
/** The larger of `a` and `b`; on a tie the gradient goes to `a`. */
export const maximum = (a: Operand, b: Operand): Value => apply(maximumOp, asValues(a, b), {});
/** The smaller of `a` and `b`; on a tie the gradient goes to `a`. */
export const minimum = (a: Operand, b: Operand): Value => apply(minimumOp, asValues(a, b), {});

/** True for a node made by `add`; the fusion pass looks for it. */
export const isAdd = (op: OpDef): boolean => op === addOp;

/** The op definitions of this file, for the op table. */
export const arithmeticOps = { addOp, subOp, mulOp, divOp, maximumOp, minimumOp };
