import { invariant } from '#core/contract/errors.ts';
import { apply, fusedOnCpu } from '../op-def.ts';
import type { Emitter, OpDef, Value } from '../op-def.ts';
import { formatType, isFloat, sameShape } from '../types.ts';
import type { TensorType } from '../types.ts';
import { dimAt, requireFloat, takeInputs } from './infer.ts';
import { onnxTypeOf } from './select.ts';

/** Matrices of int8 rows with a scale for each: `W_rc = scales_r · values_rc`. */

function requireRows(values: TensorType, scales: TensorType): void {
  invariant(
    values.dtype === 'int8' && values.shape.length === 2 && isFloat(scales.dtype),
    `takes int8 rows and a float for each, got ${formatType(values)} and ${formatType(scales)}`,
  );
  invariant(
    sameShape(scales.shape, values.shape.slice(0, 1)),
    `${formatType(scales)} is no scale for each row of ${formatType(values)}`,
  );
}

const dequantizeRowsOp: OpDef = {
  name: 'dequantizeRows',
  infer(inputs) {
    const [values, scales] = takeInputs(inputs, 2);
    requireRows(values, scales);
    return [{ dtype: scales.dtype, shape: values.shape }];
  },
  vjp: 'stop',
  lower: fusedOnCpu(
    ({ emitter, inputs }) => emitter.node('DequantizeLinear', inputs, { attrs: { axis: 0 } }),
    ({ emitter, inputs: [values = '', scales = ''], inputTypes: [, scale] }) =>
      emitWidened(emitter, values, scales, scale),
  ),
};

function emitWidened(
  emitter: Emitter,
  values: string,
  scales: string,
  scale: TensorType | undefined,
): string {
  invariant(scale !== undefined, 'rows have scales');
  const wide = emitter.node('Cast', [values], { attrs: { to: onnxTypeOf[scale.dtype] } });
  return emitter.node('Mul', [wide, emitter.node('Unsqueeze', [scales, emitter.int64s([1])])]);
}

/** `y_rc = scales_r · values_rc`: int8 rows [R, C] with a scale for each [R]. Storage only, no gradient passes. */
export function dequantizeRows(values: Value, scales: Value): Value {
  return apply(dequantizeRowsOp, [values, scales], {});
}

type Int8MatmulAttrs = { readonly transB: boolean };

const int8MatmulOp: OpDef<Int8MatmulAttrs> = {
  name: 'int8Matmul',
  infer(inputs, { transB }) {
    const [x, values, scales] = takeInputs(inputs, 3);
    requireFloat(x, scales);
    requireRows(values, scales);
    invariant(x.shape.length === 2, `needs rows, got ${formatType(x)}`);
    const [inner, columns] = transB ? [dimAt(values, 1), dimAt(values, 0)] : values.shape;
    invariant(
      dimAt(x, 1) === inner && columns !== undefined,
      `inner sizes differ: ${formatType(x)} and ${formatType(values)}${transB ? ' transposed' : ''}`,
    );
    return [{ dtype: x.dtype, shape: [dimAt(x, 0), columns] }];
  },
  vjp: ({ inputs: [, values, scales], grads: [dy], attrs: { transB } }) => [
    values && scales && dy ? int8Matmul(dy, values, scales, { transB: !transB }) : undefined,
  ],
  lower: fusedOnCpu(
    ({ emitter, inputs: [x = '', values = '', scales = ''], attrs: { transB } }) =>
      transB
        ? emitInt8Product(
            emitter,
            x,
            emitter.node('Transpose', [values], { attrs: { perm: [1, 0] } }),
            scales,
          )
        : emitInt8Product(
            emitter,
            emitter.node('Mul', [x, scales]),
            values,
            emitter.constant({ dtype: 'float32', shape: [], data: [1] }),
          ),
    ({ emitter, inputs: [x = '', values = '', scales = ''], inputTypes: [, , scale], attrs: { transB } }) =>
      emitter.node('Gemm', [x, emitWidened(emitter, values, scales, scale)], {
        attrs: { transB: Number(transB) },
      }),
  ),
};

/** The largest of the 8 bits of a number of x, and what stands for 0: the products of processors take x without sign. */
const LARGEST = 127;
const ZERO = 128;

/**
 * `x (values ⊙ columnScales)` with each row of x rounded to 8 bits: `a_n = max_k |x_nk| / 127`, `q = round(x / a)`,
 * `y = a ⊙ (q values) ⊙ columnScales`, where `q values` is exact.
 */
function emitInt8Product(emitter: Emitter, x: string, values: string, columnScales: string): string {
  const scalar = (dtype: 'float32' | 'uint8', value: number, shape: readonly number[] = []) =>
    emitter.constant({ dtype, shape, data: [value] });
  const axis = emitter.int64s([1]);
  const reduce = (opType: string, of: string) => emitter.node(opType, [of, axis], { attrs: { keepdims: 0 } });
  const largest_n = reduce('ReduceMax', emitter.node('Abs', [x]));
  const finiteScale_n = emitter.node('Max', [
    emitter.node('Mul', [largest_n, scalar('float32', 1 / LARGEST)]),
    scalar('float32', 2 ** -126),
  ]);
  // The largest of numbers and NaN is a number here: a sum tells.
  const nothing_n = emitter.node('Mul', [reduce('ReduceSum', x), scalar('float32', 0)]);
  const scale_n = emitter.node('Add', [finiteScale_n, nothing_n]);
  const zero_n = emitter.node('Expand', [scalar('uint8', ZERO), emitter.node('Shape', [scale_n])]);
  const rounded = emitter.node('QuantizeLinear', [x, scale_n, zero_n], { attrs: { axis: 0 } });
  const product = emitter.node(
    'MatMulIntegerToFloat',
    [rounded, values, scalar('float32', 1), columnScales, scalar('uint8', ZERO)],
    { domain: 'com.microsoft' },
  );
  return emitter.node('Mul', [product, emitter.node('Unsqueeze', [scale_n, axis])]);
}

/**
 * `x W` or, with `transB`, `x Wᵀ` for W of int8 rows with a scale for each. On the CPU the rows of x are rounded to 8 bits as well,
 * and so are those of the gradient; the gradient is that of the product without this rounding.
 * @param x [n, K].
 * @param values int8 [R, C].
 * @param scales [R].
 */
export function int8Matmul(
  x: Value,
  values: Value,
  scales: Value,
  { transB = false }: { readonly transB?: boolean } = {},
): Value {
  return apply(int8MatmulOp, [x, values, scales], { transB });
}

/** The op definitions of this file, for the op table. */
export const int8Ops = { dequantizeRowsOp, int8MatmulOp };
