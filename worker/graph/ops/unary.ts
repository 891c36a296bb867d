import { invariant } from '#core/contract/errors.ts';
import { apply, everywhere, fusedOnCpu, onProviders, onnxOp } from '../op-def.ts';
import type { Attrs, Dialect, Emitter, Lower, OpDef, Value } from '../op-def.ts';
import type { DType } from '../types.ts';
import { add, div, mul, sub } from './arithmetic.ts';
import { requireFloat, takeInputs } from './infer.ts';
import { and, greater, greaterOrEqual, less, lessOrEqual, where } from './select.ts';

/** Elementwise functions of one operand. */

/** `toX` gives the gradient of the input from that of the output `dy`, the input `x` and the output `y`. */
function unaryOp<A extends Attrs = Attrs>(
  name: string,
  lower: Readonly<Record<Dialect, Lower<A>>>,
  toX: (dy: Value, x: Value, y: Value, attrs: A) => Value,
): OpDef<A> {
  return {
    name,
    infer(inputs) {
      const [x] = takeInputs(inputs, 1);
      requireFloat(x);
      return [x];
    },
    vjp: ({ inputs: [x], outputs: [y], grads: [dy], attrs }) => [x && y && dy && toX(dy, x, y, attrs)],
    lower,
  };
}

const negOp = unaryOp('neg', onnxOp('Neg'), (dy) => neg(dy));
const expOp = unaryOp('exp', onnxOp('Exp'), (dy, _x, y) => mul(dy, y));
const logOp = unaryOp('log', onnxOp('Log'), (dy, x) => div(dy, x));
const sqrtOp = unaryOp('sqrt', onnxOp('Sqrt'), (dy, _x, y) => div(mul(dy, 0.5), y));
const reciprocalOp = unaryOp('reciprocal', onnxOp('Reciprocal'), (dy, _x, y) => neg(mul(dy, mul(y, y))));
const sigmoidOp = unaryOp('sigmoid', onnxOp('Sigmoid'), (dy, _x, y) => mul(dy, mul(y, sub(1, y))));
const tanhOp = unaryOp('tanh', onnxOp('Tanh'), (dy, _x, y) => mul(dy, sub(1, mul(y, y))));
const reluOp = unaryOp('relu', onnxOp('Relu'), (dy, x) => where(greater(x, 0), dy, 0));
const absOp = unaryOp('abs', onnxOp('Abs'), (dy, x) =>
  where(greater(x, 0), dy, where(less(x, 0), neg(dy), 0)),
);
const cosOp = unaryOp('cos', onnxOp('Cos'), (dy, x) => neg(mul(dy, sin(x))));
const sinOp = unaryOp('sin', onnxOp('Sin'), (dy, x) => mul(dy, cos(x)));
const squareOp = unaryOp(
  'square',
  everywhere(({ emitter, inputs: [x = ''] }) => emitter.node('Mul', [x, x])),
  (dy, x) => mul(dy, mul(x, 2)),
);

// QuickGelu with alpha 1 is SiLU in one pass; the Swish op is expanded into four nodes by the CPU provider.
const siluOp = unaryOp(
  'silu',
  fusedOnCpu(
    ({ emitter, inputs }) =>
      emitter.node('QuickGelu', inputs, { domain: 'com.microsoft', attrs: { alpha: { float: 1 } } }),
    ({ emitter, inputs: [x = ''] }) => emitter.node('Mul', [x, emitter.node('Sigmoid', [x])]),
  ),
  (dy, x, y) => {
    const gate = sigmoid(x);
    return mul(dy, sub(add(gate, y), mul(gate, y)));
  },
);

const softplusOp = unaryOp(
  'softplus',
  onProviders(
    onnxOp('Softplus').cpu,
    // No float64 kernel: max(x, 0) + ln(1 + exp(-|x|)), which does not overflow.
    ({ emitter, inputs: [x = ''], inputTypes: [type] }) => {
      const scalar = scalarIn(emitter, type?.dtype);
      const decay = emitter.node('Exp', [emitter.node('Neg', [emitter.node('Abs', [x])])]);
      return emitter.node('Add', [
        emitter.node('Relu', [x]),
        emitter.node('Log', [emitter.node('Add', [decay, scalar(1)])]),
      ]);
    },
  ),
  (dy, x) => mul(dy, sigmoid(x)),
);

const erfOp = unaryOp(
  'erf',
  onProviders(onnxOp('Erf').cpu, ({ emitter, inputs: [x = ''], inputTypes: [type] }) =>
    emitErf(emitter, x, type?.dtype),
  ),
  (dy, x) => mul(dy, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))),
);

type GeluAttrs = { readonly approximate: 'none' | 'tanh' };

const geluOp = unaryOp<GeluAttrs>(
  'gelu',
  onProviders(
    ({ emitter, inputs, attrs: { approximate } }) => emitter.node('Gelu', inputs, { attrs: { approximate } }),
    ({ emitter, inputs: [x = ''], inputTypes: [type], attrs: { approximate } }) => {
      const scalar = scalarIn(emitter, type?.dtype);
      const times = (a: string, b: string): string => emitter.node('Mul', [a, b]);
      const cube = times(times(x, x), x);
      const curve =
        approximate === 'none'
          ? emitErf(emitter, times(x, scalar(Math.SQRT1_2)), type?.dtype)
          : emitter.node('Tanh', [
              times(emitter.node('Add', [x, times(cube, scalar(geluCubic))]), scalar(geluScale)),
            ]);
      return times(times(x, scalar(0.5)), emitter.node('Add', [curve, scalar(1)]));
    },
  ),
  (dy, x, _y, { approximate }) => {
    if (approximate === 'none') {
      // Phi(x) + x phi(x), with the normal distribution Phi and its density phi.
      const phi = mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return mul(dy, add(mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5), mul(x, phi)));
    }
    const curve = tanh(mul(add(x, mul(mul(square(x), x), geluCubic)), geluScale));
    const slope = mul(add(mul(square(x), 3 * geluCubic), 1), geluScale);
    const outer = mul(mul(x, 0.5), mul(sub(1, square(curve)), slope));
    return mul(dy, add(mul(add(curve, 1), 0.5), outer));
  },
);

// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016): 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
const geluScale = Math.sqrt(2 / Math.PI);
const geluCubic = 0.044715;

type ClipAttrs = { readonly min: number | undefined; readonly max: number | undefined };

const clipOp = unaryOp<ClipAttrs>(
  'clip',
  everywhere(({ emitter, inputs: [x = ''], inputTypes: [type], attrs: { min, max } }) => {
    const scalar = scalarIn(emitter, type?.dtype);
    return emitter.node('Clip', [
      x,
      min === undefined ? '' : scalar(min),
      ...(max === undefined ? [] : [scalar(max)]),
    ]);
  }),
  (dy, x, _y, { min, max }) => {
    const above = min === undefined ? undefined : greaterOrEqual(x, min);
    const below = max === undefined ? undefined : lessOrEqual(x, max);
    const inside = above && below ? and(above, below) : (above ?? below);
    return inside === undefined ? dy : where(inside, dy, 0);
  },
);

type PowAttrs = { readonly exponent: number };

const powOp = unaryOp<PowAttrs>(
  'pow',
  everywhere(({ emitter, inputs: [x = ''], inputTypes: [type], attrs: { exponent } }) =>
    emitter.node('Pow', [x, scalarIn(emitter, type?.dtype)(exponent)]),
  ),
  (dy, x, _y, { exponent }) => mul(dy, mul(pow(x, exponent - 1), exponent)),
);

/** `-x`. */
export const neg = (x: Value): Value => apply(negOp, [x], {});
/** `e^x`. */
export const exp = (x: Value): Value => apply(expOp, [x], {});
/** The natural logarithm. */
export const log = (x: Value): Value => apply(logOp, [x], {});
/** The square root. */
export const sqrt = (x: Value): Value => apply(sqrtOp, [x], {});
/** `1 / x`. */
export const reciprocal = (x: Value): Value => apply(reciprocalOp, [x], {});
/** `1 / (1 + e^-x)`. */
export const sigmoid = (x: Value): Value => apply(sigmoidOp, [x], {});
/** `x sigmoid(x)`. */
export const silu = (x: Value): Value => apply(siluOp, [x], {});
/** The hyperbolic tangent. */
export const tanh = (x: Value): Value => apply(tanhOp, [x], {});
/** `max(x, 0)`; the derivative at 0 is 0. */
export const relu = (x: Value): Value => apply(reluOp, [x], {});
/** `x Phi(x)` with the normal distribution Phi, exactly (`erf`) or by its `tanh` approximation. */
export const gelu = (x: Value, { form = 'erf' }: { readonly form?: 'erf' | 'tanh' } = {}): Value =>
  apply(geluOp, [x], { approximate: form === 'erf' ? 'none' : 'tanh' });
/** The error function. */
export const erf = (x: Value): Value => apply(erfOp, [x], {});
/** `ln(1 + e^x)`. */
export const softplus = (x: Value): Value => apply(softplusOp, [x], {});
/** The absolute value; the derivative at 0 is 0. */
export const abs = (x: Value): Value => apply(absOp, [x], {});
/** The cosine of an angle in radians. */
export const cos = (x: Value): Value => apply(cosOp, [x], {});
/** The sine of an angle in radians. */
export const sin = (x: Value): Value => apply(sinOp, [x], {});
/** `x^2`. */
export const square = (x: Value): Value => apply(squareOp, [x], {});
/** `x` limited to `[min, max]`; the derivative on the limits is 1. */
export const clip = (x: Value, { min, max }: { readonly min?: number; readonly max?: number }): Value => {
  invariant(min === undefined || max === undefined || min <= max, `clip: min ${min} is above max ${max}`);
  return apply(clipOp, [x], { min, max });
};
/** `x^exponent` with a number as exponent. */
export const pow = (x: Value, exponent: number): Value => apply(powOp, [x], { exponent });

function scalarIn(emitter: Emitter, dtype: DType = 'float32'): (value: number) => string {
  return (value) => emitter.constant({ dtype, shape: [], data: [value] });
}

/**
 * The error function from its everywhere convergent series of positive terms,
 * erf(x) = 2/sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!! (Abramowitz and Stegun 7.1.6), because no float64 kernel
 * exists. Beyond |x| = 6 the function is 1 to double precision, where 140 terms are enough.
 */
function emitErf(emitter: Emitter, x: string, dtype: DType = 'float32'): string {
  if (dtype === 'float32') return emitter.node('Erf', [x]);
  const scalar = scalarIn(emitter, dtype);
  const times = (a: string, b: string): string => emitter.node('Mul', [a, b]);
  const limited = emitter.node('Clip', [x, scalar(-6), scalar(6)]);
  const squared = times(limited, limited);
  let sum = scalar(1);
  for (let n = 140; n >= 1; n--) {
    const term = times(times(squared, scalar(2 / (2 * n + 1))), sum);
    sum = emitter.node('Add', [term, scalar(1)]);
  }
  const weight = times(emitter.node('Exp', [emitter.node('Neg', [squared])]), scalar(2 / Math.sqrt(Math.PI)));
  return times(times(weight, limited), sum);
}

/** The op definitions of this file, for the op table. */
export const unaryOps = {
  negOp,
  expOp,
  logOp,
  sqrtOp,
  reciprocalOp,
  sigmoidOp,
  siluOp,
  tanhOp,
  reluOp,
  geluOp,
  erfOp,
  softplusOp,
  absOp,
  cosOp,
  sinOp,
  squareOp,
  clipOp,
  powOp,
};
