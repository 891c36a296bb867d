/** Norms of a plan as graph values. */
import { op, type Value } from '#worker/graph/index.ts';
import type { NormPlan } from '../decoder-plan.ts';

/** `x` normalised along its last axis with the weight called `role`; `x` itself where the plan has no norm there. */
export function normalised(
  x: Value,
  plan: NormPlan | null,
  role: string,
  weight: (role: string, shape: readonly number[]) => Value,
): Value {
  if (plan === null) return x;
  const width = x.shape.at(-1);
  return op.rmsNorm(x, weight(role, [typeof width === 'number' ? width : 0]), { eps: plan.epsilon });
}
