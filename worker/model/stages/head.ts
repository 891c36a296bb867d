/** The final norm, the head, and the loss. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { DecoderPlan } from '../decoder-plan.ts';
import { weightInput, type WeightDtypes } from './weight.ts';

function logits(builder: GraphBuilder, plan: DecoderPlan, dtypes: WeightDtypes): Value {
  const hidden = plan.hiddenSize;
  const h_nH = builder.input('h', 'float32', ['n', hidden]);
  const norm = weightInput(builder, 'finalNorm', dtypes('finalNorm'), [hidden]);
  const head_VH = weightInput(builder, 'head', dtypes('head'), [plan.vocabularySize, hidden]);
  return op.matmul(op.rmsNorm(h_nH, norm, { eps: plan.finalNorm.epsilon }), head_VH, {
    transB: true,
    alpha: plan.logitScale ?? 1,
  });
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
