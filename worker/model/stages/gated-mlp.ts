/** The gated MLP that experts, shared experts and dense layers have in common. */
import { op, type Value } from '#worker/graph/index.ts';
import type { ActivationPlan } from '../decoder-plan.ts';

/** Values of a gated MLP that are worth keeping: without them the backward pass computes two of its products again. */
export const gatedMlpSaved = ['gateProjection', 'upProjection'] as const;

/** What goes into the down projection, from gate and up projections. */
export function activate(activation: ActivationPlan, gate_nI: Value, up_nI: Value): Value {
  switch (activation.kind) {
    case 'silu':
      return op.mul(op.silu(gate_nI), up_nI);
    case 'clamped': {
      const { alpha, limit } = activation;
      const g_nI = op.clip(gate_nI, { max: limit });
      const u_nI = op.clip(up_nI, { min: -limit, max: limit });
      return op.mul(op.add(u_nI, 1), op.mul(g_nI, op.sigmoid(op.mul(g_nI, alpha))));
    }
  }
}
