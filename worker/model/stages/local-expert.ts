/** A small MLP beside the experts of a layer, whose output is added to theirs. */
import { GraphBuilder, op, type Graph } from '#worker/graph/index.ts';
import type { LocalExpertPlan } from '../addition-plans.ts';
import type { LayerPlan } from '../decoder-plan.ts';
import type { Mode } from '../slots.ts';

/**
 * Graph of a local expert: `y = γ · up silu(down x)`, times the scale of the layer's residual. Without a gate, and where outputs are
 * mixed, γ is the plan's scale; a gated one has `γ = scale · sigmoid(v x + c)` for each token, in inference 0 or the scale where
 * there is a threshold.
 *
 * Inputs: `x` [N, hidden], `localDown` [rank, hidden], `localUp` [hidden, rank], and with a gate `localGate` v [hidden] and
 * `localGateBias` c [1]. Output: `y` [N, hidden], zero where the gate is closed.
 */
export function localExpertStage(
  layer: LayerPlan,
  hidden: number,
  { rank, scale, gated, threshold, mixture }: LocalExpertPlan,
  mode: Mode,
): Graph {
  const builder = new GraphBuilder('local-expert');
  const x_NH = builder.input('x', 'float32', ['N', hidden]);
  const down_RH = builder.input('localDown', 'float32', [rank, hidden]);
  const up_HR = builder.input('localUp', 'float32', [hidden, rank]);
  let hidden_NR = op.silu(op.matmul(x_NH, down_RH, { transB: true }));
  if (gated && mixture === 'residual') {
    const gate_1H = op.reshape(builder.input('localGate', 'float32', [hidden]), [1, hidden]);
    const bias_1 = builder.input('localGateBias', 'float32', [1]);
    const soft_N1 = op.sigmoid(op.add(op.matmul(x_NH, gate_1H, { transB: true }), bias_1));
    const isHard = mode === 'inference' && threshold !== null;
    hidden_NR = op.mul(hidden_NR, isHard ? op.cast(op.greater(soft_N1, threshold), 'float32') : soft_N1);
  }
  builder.output(
    'y',
    op.matmul(hidden_NR, up_HR, { transB: true, alpha: scale * (layer.residualScale ?? 1) }),
  );
  return builder.build();
}
