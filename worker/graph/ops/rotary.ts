import { invariant } from '#core/contract/errors.ts';
import { apply, fusedOnCpu } from '../op-def.ts';
import type { OpDef, Value } from '../op-def.ts';
import { formatType, sameShape } from '../types.ts';
import { dimAt, fixedDimAt, requireFloat, takeInputs } from './infer.ts';
import { neg } from './unary.ts';

/** Rotary position embedding. */

type RotaryAttrs = { readonly interleaved: boolean; readonly rotaryDim: number };

const rotaryOp: OpDef<RotaryAttrs> = {
  name: 'rotary',
  infer(inputs, { rotaryDim }) {
    const [x, positions, cos, sin] = takeInputs(inputs, 4);
    requireFloat(x, cos, sin);
    invariant(x.shape.length === 4, `rotates x_BHSD, got ${formatType(x)}`);
    invariant(
      positions.dtype === 'int64' && sameShape(positions.shape, [dimAt(x, 0), dimAt(x, 2)]),
      `positions of ${formatType(x)} must be int64[${dimAt(x, 0)}, ${dimAt(x, 2)}], got ${formatType(positions)}`,
    );
    invariant(
      rotaryDim % 2 === 0 && rotaryDim > 0 && rotaryDim <= fixedDimAt(x, 3),
      `rotates an even number of elements, at most the last axis of ${formatType(x)}; got ${rotaryDim}`,
    );
    invariant(
      cos.shape.length === 2 && dimAt(cos, 1) === rotaryDim / 2 && sameShape(cos.shape, sin.shape),
      `cos and sin need one column per pair, ${rotaryDim / 2}; got ${formatType(cos)} and ${formatType(sin)}`,
    );
    return [x];
  },
  // A rotation is orthogonal: its transpose turns by the negative angle.
  vjp: ({ inputs: [, positions, cos, sin], grads: [dy], attrs, needs }) => {
    invariant(!needs[2] && !needs[3], 'rotary: cos and sin are not differentiable');
    return [positions && cos && sin && dy && rotary(dy, positions, cos, neg(sin), attrs)];
  },
  lower: fusedOnCpu(
    ({ emitter, inputs, inputTypes: [x], attrs: { interleaved, rotaryDim } }) => {
      const partial = x !== undefined && rotaryDim < fixedDimAt(x, 3);
      return emitter.node('RotaryEmbedding', inputs, {
        domain: 'com.microsoft',
        attrs: {
          interleaved: Number(interleaved),
          ...(partial ? { rotary_embedding_dim: rotaryDim, num_heads: fixedDimAt(x, 1) } : {}),
        },
      });
    },
    ({ emitter, inputs: [x = '', positions = '', cos = '', sin = ''], inputTypes, attrs }) => {
      const [type] = inputTypes;
      const pairs = attrs.rotaryDim / 2;
      const rest = type === undefined ? 0 : fixedDimAt(type, 3) - attrs.rotaryDim;
      const angle = (table: string): string => {
        const rows = emitter.node('Gather', [table, positions], { attrs: { axis: 0 } });
        const axes = attrs.interleaved ? [1, 4] : [1];
        return emitter.node('Unsqueeze', [rows, emitter.int64s(axes)]);
      };
      const [rotated = x, kept = ''] =
        rest === 0
          ? []
          : emitter.nodes('Split', [x, emitter.int64s([attrs.rotaryDim, rest])], {
              attrs: { axis: -1 },
              outputs: 2,
            });
      const paired = attrs.interleaved
        ? emitter.node('Reshape', [rotated, emitter.int64s([0, 0, 0, pairs, 2])])
        : rotated;
      const halves = attrs.interleaved ? [1, 1] : [pairs, pairs];
      const [first = '', second = ''] = emitter.nodes('Split', [paired, emitter.int64s(halves)], {
        attrs: { axis: -1 },
        outputs: 2,
      });
      const [c, s] = [angle(cos), angle(sin)];
      const times = (a: string, b: string): string => emitter.node('Mul', [a, b]);
      const turned = [
        emitter.node('Sub', [times(first, c), times(second, s)]),
        emitter.node('Add', [times(second, c), times(first, s)]),
      ];
      const joined = emitter.node('Concat', turned, { attrs: { axis: -1 } });
      const flat = attrs.interleaved
        ? emitter.node('Reshape', [joined, emitter.int64s([0, 0, 0, attrs.rotaryDim])])
        : joined;
      return kept === '' ? flat : emitter.node('Concat', [flat, kept], { attrs: { axis: -1 } });
    },
  ),
};

/** Options of `rotary`. */
export interface RotaryOptions {
  /** Pairs neighbours (0,1), (2,3), ... instead of the two halves of the rotated part. */
  readonly interleaved?: boolean;
  /** How many leading elements of the last axis are rotated; all by default. */
  readonly rotaryDim?: number;
}

/**
 * Rotates pairs of elements of `x_BHSD` by the angles whose cosines and sines stand in row `positions_BS` of `cos_PR` and
 * `sin_PR` (R = rotaryDim / 2): (u, v) becomes (u cos - v sin, v cos + u sin).
 * Su et al., "RoFormer" (2021). Differentiable in `x` only.
 */
export function rotary(
  x: Value,
  positions: Value,
  cos: Value,
  sin: Value,
  { interleaved = false, rotaryDim }: RotaryOptions = {},
): Value {
  const last = x.shape.at(-1);
  return apply(rotaryOp, [x, positions, cos, sin], {
    interleaved,
    rotaryDim: rotaryDim ?? (typeof last === 'number' ? last : 0),
  });
}

/** The op definitions of this file, for the op table. */
export const rotaryOps = { rotaryOp };
