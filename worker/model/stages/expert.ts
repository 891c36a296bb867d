/** One expert on its own tokens. */
import { GraphBuilder, op, type Graph } from '#worker/graph/index.ts';
import { weightInput, type WeightDtypes } from './weight.ts';

/** Forward values worth keeping: without them the backward pass computes two of its eight products again. */
export const expertSaved = ['gateProjection', 'upProjection'] as const;

/**
 * Graph of an expert: `y = (w ⊙ silu(x gateᵀ) ⊙ x upᵀ) downᵀ`.
 *
 * The gate weight multiplies the hidden activation instead of the output, which is the same number (the last product is
 * linear) and lets its gradient be taken without keeping the output.
 *
 * Inputs: `x` [n, hidden], `weight` [n, 1], `expertGate` and `expertUp` [I, hidden], `expertDown` [hidden, I].
 * Outputs: `y` [n, hidden] and the values of `expertSaved`.
 */
export function expertStage(hidden: number, intermediate: number, dtypes: WeightDtypes): Graph {
  const builder = new GraphBuilder('expert');
  const weight = (role: string, shape: readonly number[]) => weightInput(builder, role, dtypes(role), shape);
  const x_nH = builder.input('x', 'float32', ['n', hidden]);
  const weight_n1 = builder.input('weight', 'float32', ['n', 1]);
  const gate_nI = op.matmul(x_nH, weight('expertGate', [intermediate, hidden]), { transB: true });
  const up_nI = op.matmul(x_nH, weight('expertUp', [intermediate, hidden]), { transB: true });
  const hidden_nI = op.mul(op.mul(op.silu(gate_nI), up_nI), weight_n1);
  builder.output('gateProjection', gate_nI);
  builder.output('upProjection', up_nI);
  builder.output('y', op.matmul(hidden_nI, weight('expertDown', [hidden, intermediate]), { transB: true }));
  return builder.build();
}
