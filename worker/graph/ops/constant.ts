import { invariant } from '#core/contract/errors.ts';
import { everywhere } from '../op-def.ts';
import type { OpDef } from '../op-def.ts';
import type { DType, TypedArray } from '../types.ts';

type ConstantAttrs = {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly number[] | TypedArray;
};

/** A tensor known when the graph is built. */
export const constantOp: OpDef<ConstantAttrs> = {
  name: 'constant',
  infer(_inputs, { dtype, shape, data }) {
    const size = shape.reduce((product, dim) => product * dim, 1);
    invariant(
      data.length === size,
      `shape [${shape.join(', ')}] holds ${size} elements, the data has ${data.length}`,
    );
    return [{ dtype, shape }];
  },
  vjp: 'stop',
  lower: everywhere(({ emitter, attrs }) => emitter.constant(attrs)),
};
