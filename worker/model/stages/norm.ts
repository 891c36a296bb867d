/** Norms of a plan as graph values. */
import { op, type Value } from '#worker/graph/index.ts';
import type { NormPlan } from '../decoder-plan.ts';

function zeros(like: Value, width: number): Value {
  return like.sink.constant({ dtype: like.dtype, shape: [width], data: new Array<number>(width).fill(0) });
}

/**
 * `x` normalised along its last axis with the weight called `role` and the bias called `roleBias`; `x` itself where the plan
 * has no norm there.
 */
export function normalised(
  x: Value,
  plan: NormPlan | null,
  role: string,
  weight: (role: string, shape: readonly number[]) => Value,
): Value {
  if (plan === null) return x;
  const last = x.shape.at(-1);
  const width = typeof last === 'number' ? last : 0;
  const scale = weight(role, [width]);
  switch (plan.kind) {
    case 'rms':
      return op.rmsNorm(x, scale, { eps: plan.epsilon });
    case 'layer': {
      const bias = plan.bias ? weight(`${role}Bias`, [width]) : zeros(x, width);
      return op.layerNorm(x, scale, bias, { eps: plan.epsilon });
    }
  }
}
