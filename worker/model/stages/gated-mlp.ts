/** The gated MLP that experts, shared experts and dense layers have in common. */
import { op, type Value } from '#worker/graph/index.ts';
import type { ActivationPlan } from '../decoder-plan.ts';

/** Values of a gated MLP that are worth keeping: without them the backward pass computes two of its products again. */
export const gatedMlpSaved = ['gateProjection', 'upProjection'] as const;

const QUICK_GELU = 1.702;

const curves: Readonly<Record<Exclude<ActivationPlan['kind'], 'clamped'>, (gate: Value) => Value>> = {
  silu: op.silu,
  gelu: (gate) => op.gelu(gate),
  'gelu-tanh': (gate) => op.gelu(gate, { form: 'tanh' }),
  'quick-gelu': (gate) => op.mul(gate, op.sigmoid(op.mul(gate, QUICK_GELU))),
  relu: op.relu,
  'relu-squared': (gate) => op.square(op.relu(gate)),
};

/** What goes into the down projection, from gate and up projections. @param activation absent: silu. */
export function activate(activation: ActivationPlan | undefined, gate_nI: Value, up_nI: Value): Value {
  switch (activation?.kind) {
    case 'clamped': {
      const { alpha, limit } = activation;
      const g_nI = op.clip(gate_nI, { max: limit });
      const u_nI = op.clip(up_nI, { min: -limit, max: limit });
      return op.mul(op.add(u_nI, 1), op.mul(g_nI, op.sigmoid(op.mul(g_nI, alpha))));
    }
    default:
      return op.mul(curves[activation?.kind ?? 'silu'](gate_nI), up_nI);
  }
}
