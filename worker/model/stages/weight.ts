/** Weights as graph inputs, in whatever type they are held, and the adapters beside them. */
import { op, type GraphBuilder, type Value } from '#worker/graph/index.ts';
import { adapterScale, type AdapterPlan } from '../adapters.ts';

/** How a weight lies in memory: trained ones in float32, frozen ones as the checkpoint has them. */
export type WeightDtype = 'float32' | 'bfloat16' | 'float16';

/** Declares weight input `name` and widens it to float32 inside the graph. */
export function weightInput(
  builder: GraphBuilder,
  name: string,
  dtype: WeightDtype,
  shape: readonly number[],
): Value {
  const stored = builder.input(name, dtype, shape);
  return dtype === 'float32' ? stored : op.cast(stored, 'float32');
}

/** The type of each weight of a stage, by role. */
export type WeightDtypes = (role: string) => WeightDtype;

/** A weight matrix W `[out, in]`, and the adapter beside it. */
export interface Matrix {
  readonly weight: Value;
  readonly adapter?: {
    readonly loraA: Value;
    readonly loraB: Value;
    readonly magnitude?: Value;
    readonly scale: number;
  };
}

/** Declares matrix `role`, with the parts of its adapter (`role.loraA`, …) where it has one. */
export function matrixInput(
  builder: GraphBuilder,
  role: string,
  dtypes: WeightDtypes,
  [out, width]: readonly [out: number, width: number],
  adapters: AdapterPlan | null,
): Matrix {
  const weight = weightInput(builder, role, dtypes(role), [out, width]);
  if (!adapters?.roles.has(role)) return { weight };
  const { rank } = adapters;
  const part = (name: string, ...shape: readonly number[]) =>
    builder.input(`${role}.${name}`, 'float32', shape);
  return {
    weight,
    adapter: {
      loraA: part('loraA', rank, width),
      loraB: part('loraB', out, rank),
      ...(adapters.magnitude && { magnitude: part('magnitude', out) }),
      scale: adapterScale(adapters),
    },
  };
}

/** `α x Wᵀ + b` with the adapter of W, if there is one; the bias is optional and not multiplied by α. */
export function linear(x: Value, { weight, adapter }: Matrix, bias?: Value, alpha = 1): Value {
  const product = op.matmul(x, weight, { transB: true, alpha });
  const corrected = adapter === undefined ? product : withAdapter(x, weight, product, adapter, alpha);
  return bias === undefined ? corrected : op.add(corrected, bias);
}

function withAdapter(
  x: Value,
  weight: Value,
  product: Value,
  { loraA, loraB, magnitude, scale }: NonNullable<Matrix['adapter']>,
  alpha: number,
): Value {
  const low_NR = op.matmul(x, loraA, { transB: true });
  const sum = op.add(product, op.matmul(low_NR, loraB, { transB: true, alpha: alpha * scale }));
  if (magnitude === undefined) return sum;
  const direction = op.add(weight, op.matmul(loraB, loraA, { alpha: scale }));
  const norm = op.stopGradient(op.sqrt(op.reduceSum(op.square(direction), { axes: [-1] })));
  return op.mul(sum, op.div(magnitude, norm));
}
