/** The final norm, the head, and the loss. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { DecoderPlan } from '../decoder-plan.ts';
import { normalised } from './norm.ts';
import { linear, weightInput, type WeightDtypes } from './weight.ts';

function logits(builder: GraphBuilder, plan: DecoderPlan, dtypes: WeightDtypes): Value {
  const hidden = plan.hiddenSize;
  const h_nH = builder.input('h', 'float32', ['n', hidden]);
  const input = (role: string, shape: readonly number[]) => weightInput(builder, role, dtypes(role), shape);
  const x_nH = normalised(h_nH, plan.finalNorm, 'finalNorm', input);
  const head = { weight: input('head', [plan.vocabularySize, hidden]) };
  const bias_V = plan.headBias ? input('headBias', [plan.vocabularySize]) : undefined;
  return linear(x_nH, head, bias_V, plan.logitScale ?? 1);
}

/** Graph of `h` [n, hidden] → `logits` [n, vocabulary]. */
export function logitsStage(plan: DecoderPlan, dtypes: WeightDtypes): Graph {
  const builder = new GraphBuilder('head');
  builder.output('logits', logits(builder, plan, dtypes));
  return builder.build();
}

/** Graph of `h` [n, hidden] and `labels` [n] (int64, all valid) → `loss` [n], the cross-entropy of each row. */
export function lossStage(plan: DecoderPlan, dtypes: WeightDtypes): Graph {
  const builder = new GraphBuilder('head-loss');
  const logits_nV = logits(builder, plan, dtypes);
  builder.output('loss', op.crossEntropyRows(logits_nV, builder.input('labels', 'int64', ['n'])));
  return builder.build();
}
