import { invariant } from '#core/contract/errors.ts';
import { apply, everywhere } from '../op-def.ts';
import type { Emitter, LowerSite, OpDef, Value } from '../op-def.ts';
import { formatType, sameShape } from '../types.ts';
import type { Dim, TensorType } from '../types.ts';
import { broadcastShapes, dimAt, requireFloat, takeInputs } from './infer.ts';
import { reshape, unbroadcast } from './shape.ts';

/** Matrix products. */

type MatMulAttrs = { readonly transA: boolean; readonly transB: boolean; readonly alpha: number };

const matmulOp: OpDef<MatMulAttrs> = {
  name: 'matmul',
  infer: (inputs, attrs) => [inferProduct(...takeInputs(inputs, 2), attrs)],
  vjp: ({ inputs: [a, b], grads: [dy], attrs, needs }) =>
    a && b && dy ? productGradients(a, b, dy, attrs, needs) : [],
  lower: {
    cpu: (site) => {
      const { emitter, inputs, outputTypes, attrs } = site;
      if (outputTypes[0]?.shape.length === 2) return emitGemm(site);
      if (!attrs.transA && !attrs.transB && attrs.alpha === 1) return emitter.node('MatMul', inputs);
      return emitter.node('FusedMatMul', inputs, { domain: 'com.microsoft', attrs: productFlags(attrs) });
    },
    webgpu: (site) => emitStandard(site),
    reference: (site) => emitMatMul(site),
    portable: (site) => emitStandard(site),
  },
};

/** As one of the two products of plain ONNX: weights are transposed by a flag, not in memory. */
function emitStandard(site: LowerSite<MatMulAttrs>): string {
  return site.outputTypes[0]?.shape.length === 2 ? emitGemm(site) : emitMatMul(site);
}

function productFlags({ transA, transB, alpha }: MatMulAttrs) {
  return { transA: Number(transA), transB: Number(transB), alpha: { float: alpha } };
}

function emitGemm({ emitter, inputs, attrs }: LowerSite<MatMulAttrs>): string {
  return emitter.node('Gemm', inputs, { attrs: productFlags(attrs) });
}

/** With transposes and the factor as nodes of their own. */
function emitMatMul({ emitter, inputs, inputTypes, attrs }: LowerSite<MatMulAttrs>): string {
  const [a = '', b = ''] = inputs;
  const [typeA, typeB] = inputTypes;
  const left = attrs.transA ? swapLast(emitter, a, typeA) : a;
  const right = attrs.transB ? swapLast(emitter, b, typeB) : b;
  const product = emitter.node('MatMul', [left, right]);
  if (attrs.alpha === 1) return product;
  const alpha = emitter.constant({ dtype: typeA?.dtype ?? 'float32', shape: [], data: [attrs.alpha] });
  return emitter.node('Mul', [product, alpha]);
}

function swapLast(emitter: Emitter, x: string, type: TensorType | undefined): string {
  const rank = type?.shape.length ?? 2;
  const perm = Array.from({ length: rank }, (_unused, axis) => axis);
  return emitter.node('Transpose', [x], { attrs: { perm: [...perm.slice(0, -2), rank - 1, rank - 2] } });
}

function inferProduct(a: TensorType, b: TensorType, { transA, transB }: MatMulAttrs): TensorType {
  requireFloat(a, b);
  const both = `${formatType(a)}${transA ? ' transposed' : ''} and ${formatType(b)}${transB ? ' transposed' : ''}`;
  invariant(a.shape.length >= 2 && b.shape.length >= 2, `needs matrices, got ${both}`);
  const leading = a.shape.slice(0, -2);
  const shared = b.shape.length === 2 && (!transA || a.shape.length === 2);
  invariant(shared || sameShape(leading, b.shape.slice(0, -2)), `leading sizes differ: ${both}`);
  const [rows, inner] = transA ? [dimAt(a, -1), dimAt(a, -2)] : [dimAt(a, -2), dimAt(a, -1)];
  const [inner2, columns] = transB ? [dimAt(b, -1), dimAt(b, -2)] : [dimAt(b, -2), dimAt(b, -1)];
  invariant(inner === inner2, `inner sizes ${inner} and ${inner2} differ: ${both}`);
  return { dtype: a.dtype, shape: [...leading, rows, columns] };
}

/** With Y = alpha A B: dA = alpha dY B^T and dB = alpha A^T dY, written without ever transposing in memory. */
function productGradients(
  a: Value,
  b: Value,
  dy: Value,
  { transA, transB, alpha }: MatMulAttrs,
  needs: readonly boolean[],
): readonly (Value | undefined)[] {
  const toA = (): Value =>
    transA
      ? matmul(b, dy, { transA: transB, transB: true, alpha })
      : matmul(dy, b, { transB: !transB, alpha });
  const toB = (): Value => {
    // A matrix shared by all leading rows collects the gradients of all of them in one product.
    const flat = b.rank === 2 && a.rank > 2;
    const rowsA = flat ? reshape(a, [-1, dimAt(a.type, -1)]) : a;
    const rowsY = flat ? reshape(dy, [-1, dimAt(dy.type, -1)]) : dy;
    return transB
      ? matmul(rowsY, rowsA, { transA: true, transB: transA, alpha })
      : matmul(rowsA, rowsY, { transA: !transA, alpha });
  };
  return [needs[0] ? toA() : undefined, needs[1] ? toB() : undefined];
}

/** Options of a matrix product. */
export interface MatMulOptions {
  /** Multiplies by the transpose of the last two axes of `a`. */
  readonly transA?: boolean;
  /** Multiplies by the transpose of the last two axes of `b`. */
  readonly transB?: boolean;
  /** A factor on the product. */
  readonly alpha?: number;
}

/**
 * `alpha a b` for matrices, for batches with equal leading sizes, or for a batch `a` and one matrix `b`
 * (then `a` may not be transposed).
 */
export function matmul(
  a: Value,
  b: Value,
  { transA = false, transB = false, alpha = 1 }: MatMulOptions = {},
): Value {
  return apply(matmulOp, [a, b], { transA, transB, alpha });
}

const gemmOp: OpDef<MatMulAttrs> = {
  name: 'gemm',
  infer(inputs, attrs) {
    const [a, b, c] = takeInputs(inputs, 3);
    invariant(
      a.shape.length === 2 && b.shape.length === 2,
      `needs matrices, got ${formatType(a)} and ${formatType(b)}`,
    );
    const product = inferProduct(a, b, attrs);
    requireFloat(a, c);
    invariant(addable(product.shape, c.shape), `cannot add ${formatType(c)} to ${formatType(product)}`);
    return [product];
  },
  vjp: ({ inputs: [a, b, c], grads: [dy], attrs, needs }) =>
    a && b && c && dy
      ? [...productGradients(a, b, dy, attrs, needs), needs[2] ? unbroadcast(dy, c.type) : undefined]
      : [],
  lower: everywhere(({ emitter, inputs, attrs }) =>
    emitter.node('Gemm', inputs, { attrs: { ...productFlags(attrs), beta: { float: 1 } } }),
  ),
};

function addable(product: readonly Dim[], c: readonly Dim[]): boolean {
  return c.length <= 2 && sameShape(broadcastShapes(product, c), product);
}

/** `alpha a b + c` for matrices in one ONNX Gemm; `c` broadcasts to the product. Made from `add` by a pass. */
export function gemm(
  a: Value,
  b: Value,
  c: Value,
  { transA = false, transB = false, alpha = 1 }: MatMulOptions = {},
): Value {
  return apply(gemmOp, [a, b, c], { transA, transB, alpha });
}

/** The options of a 2-D product made by `matmul`, or `undefined` for any other value; for the fusion pass. */
export function matrixProduct(value: Value): { a: Value; b: Value; options: MatMulOptions } | undefined {
  const [a, b] = value.node?.inputs ?? [];
  if (value.node?.op !== matmulOp || value.rank !== 2 || !a || !b) return undefined;
  const { transA, transB, alpha } = value.node.attrs;
  return {
    a,
    b,
    options: { transA: transA === true, transB: transB === true, alpha: Number(alpha) },
  };
}

/** The op definitions of this file, for the op table. */
export const linearOps = { matmulOp, gemmOp };
