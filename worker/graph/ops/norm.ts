import { invariant } from '#core/contract/errors.ts';
import { apply, fusedOnCpu } from '../op-def.ts';
import type { Emitter, OpDef, Value } from '../op-def.ts';
import { formatType, sameShape } from '../types.ts';
import type { TensorType } from '../types.ts';
import { add, mul, sub } from './arithmetic.ts';
import { dimAt, requireFloat, takeInputs } from './infer.ts';
import { reduceMean } from './reduce.ts';
import { unbroadcast } from './shape.ts';

/** Normalisation along the last axis. */

type NormAttrs = { readonly eps: number };

/** One value per row: the type of the statistics that the backward pass uses again. */
function rowType(x: TensorType): TensorType {
  return { dtype: x.dtype, shape: [...x.shape.slice(0, -1), 1] };
}

function requireVector(x: TensorType, ...vectors: readonly TensorType[]): void {
  requireFloat(x, ...vectors);
  for (const vector of vectors) {
    invariant(
      x.shape.length > 0 && sameShape(vector.shape, [dimAt(x, -1)]),
      `needs one weight per element of the last axis, got ${formatType(x)} and ${formatType(vector)}`,
    );
  }
}

const lastMean = (x: Value): Value => reduceMean(x, { axes: [-1], keepDims: true });

/** 1 / sqrt(mean(x^2) + eps) along the last axis, in plain ONNX. */
function emitInverseRms(emitter: Emitter, x: string, type: TensorType | undefined, eps: number): string {
  const constant = emitter.constant({ dtype: type?.dtype ?? 'float32', shape: [], data: [eps] });
  const squares = emitter.node('Mul', [x, x]);
  const mean = emitter.node('ReduceMean', [squares, emitter.int64s([-1])], { attrs: { keepdims: 1 } });
  return emitter.node('Reciprocal', [emitter.node('Sqrt', [emitter.node('Add', [mean, constant])])]);
}

const rmsNormOp: OpDef<NormAttrs> = {
  name: 'rmsNorm',
  infer(inputs) {
    const [x, weight] = takeInputs(inputs, 2);
    requireVector(x, weight);
    return [x, rowType(x)];
  },
  // Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019). With n = x r, r = 1 / rms:
  // dw = sum(dy n), dx = r (g - n mean(g n)) for g = dy w.
  vjp: ({ inputs: [x, weight], outputs: [, inverseRms], grads: [dy, dInverse], needs }) => {
    if (!x || !weight || !inverseRms || !dy) return [];
    invariant(dInverse === undefined, 'rmsNorm: the inverse root mean square is not differentiable');
    const normal = mul(x, inverseRms);
    const scaled = mul(dy, weight);
    const toX = (): Value => mul(inverseRms, sub(scaled, mul(normal, lastMean(mul(scaled, normal)))));
    return [needs[0] ? toX() : undefined, needs[1] ? unbroadcast(mul(dy, normal), weight.type) : undefined];
  },
  lower: fusedOnCpu(
    ({ emitter, inputs, attrs: { eps } }) =>
      emitter.nodes('SimplifiedLayerNormalization', inputs, {
        attrs: { axis: -1, epsilon: { float: eps }, stash_type: 1 },
        outputs: 2,
      }),
    ({ emitter, inputs: [x = '', weight = ''], inputTypes: [type], attrs: { eps } }) => {
      const inverse = emitInverseRms(emitter, x, type, eps);
      return [emitter.node('Mul', [emitter.node('Mul', [x, inverse]), weight]), inverse];
    },
  ),
};

/** `x / sqrt(mean(x^2) + eps) * weight_D` along the last axis. */
export function rmsNorm(x: Value, weight: Value, { eps }: NormAttrs): Value {
  return apply(rmsNormOp, [x, weight], { eps });
}

const layerNormOp: OpDef<NormAttrs> = {
  name: 'layerNorm',
  infer(inputs) {
    const [x, weight, bias] = takeInputs(inputs, 3);
    requireVector(x, weight, bias);
    return [x, rowType(x), rowType(x)];
  },
  // Ba, Kiros and Hinton, "Layer Normalization" (2016). With n = (x - mean) r: dx = r (g - mean(g) - n mean(g n)).
  vjp: ({ inputs: [x, weight, bias], outputs: [, mean, inverse], grads: [dy, ...rest], needs }) => {
    if (!x || !weight || !bias || !mean || !inverse || !dy) return [];
    invariant(
      rest.every((grad) => grad === undefined),
      'layerNorm: the statistics are not differentiable',
    );
    const normal = mul(sub(x, mean), inverse);
    const scaled = mul(dy, weight);
    const toX = (): Value =>
      mul(inverse, sub(scaled, add(lastMean(scaled), mul(normal, lastMean(mul(scaled, normal))))));
    return [
      needs[0] ? toX() : undefined,
      needs[1] ? unbroadcast(mul(dy, normal), weight.type) : undefined,
      needs[2] ? unbroadcast(dy, bias.type) : undefined,
    ];
  },
  lower: fusedOnCpu(
    ({ emitter, inputs, attrs: { eps } }) =>
      emitter.nodes('LayerNormalization', inputs, {
        attrs: { axis: -1, epsilon: { float: eps } },
        outputs: 3,
      }),
    ({ emitter, inputs: [x = '', weight = '', bias = ''], inputTypes: [type], attrs: { eps } }) => {
      const mean = emitter.node('ReduceMean', [x, emitter.int64s([-1])], { attrs: { keepdims: 1 } });
      const centred = emitter.node('Sub', [x, mean]);
      const inverse = emitInverseRms(emitter, centred, type, eps);
      const scaled = emitter.node('Mul', [emitter.node('Mul', [centred, inverse]), weight]);
      return [emitter.node('Add', [scaled, bias]), mean, inverse];
    },
  ),
};

/** `(x - mean(x)) / sqrt(var(x) + eps) * weight_D + bias_D` along the last axis. */
export function layerNorm(x: Value, weight: Value, bias: Value, { eps }: NormAttrs): Value {
  return apply(layerNormOp, [x, weight, bias], { eps });
}

/** The op definitions of this file, for the op table. */
export const normOps = { rmsNormOp, layerNormOp };
