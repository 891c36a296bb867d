/** Weights as graph inputs, in whatever type they are held. */
import { op, type GraphBuilder, type Value } from '#worker/graph/index.ts';

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
