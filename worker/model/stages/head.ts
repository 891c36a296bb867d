/** The final norm, the head, and the loss. */
import { GraphBuilder, op, type Dim, type Graph, type Value } from '#worker/graph/index.ts';
import type { DecoderPlan } from '../decoder-plan.ts';
import { normalised } from './norm.ts';
import { linear, weightInput, type WeightDtypes } from './weight.ts';

/** The normalised hidden state. */
function normedInput(builder: GraphBuilder, plan: DecoderPlan, dtypes: WeightDtypes): Value {
  const h_nH = builder.input('h', 'float32', ['n', plan.hiddenSize]);
  const input = (role: string, shape: readonly number[]) => weightInput(builder, role, dtypes(role), shape);
  return normalised(h_nH, plan.finalNorm, 'finalNorm', input);
}

function logits(builder: GraphBuilder, plan: DecoderPlan, dtypes: WeightDtypes, vocabulary: Dim): Value {
  const x_nH = normedInput(builder, plan, dtypes);
  const head = { weight: weightInput(builder, 'head', dtypes('head'), [vocabulary, plan.hiddenSize]) };
  const bias_v = plan.headBias
    ? weightInput(builder, 'headBias', dtypes('headBias'), [vocabulary])
    : undefined;
  return linear(x_nH, head, bias_v, plan.logitScale ?? 1);
}

/**
 * Graph of `h` [n, hidden] → `logits` [n, vocabulary].
 * @param vocabulary rows of the head; open for slices of it.
 */
export function logitsStage(
  plan: DecoderPlan,
  dtypes: WeightDtypes,
  vocabulary: Dim = plan.vocabularySize,
): Graph {
  const builder = new GraphBuilder('head');
  builder.output('logits', logits(builder, plan, dtypes, vocabulary));
  return builder.build();
}

/** Graph of `h` [n, hidden] and `labels` [n] (int64, all valid) → `loss` [n], the cross-entropy of each row. */
export function lossStage(plan: DecoderPlan, dtypes: WeightDtypes): Graph {
  const builder = new GraphBuilder('head-loss');
  const logits_nV = logits(builder, plan, dtypes, plan.vocabularySize);
  builder.output('loss', op.crossEntropyRows(logits_nV, builder.input('labels', 'int64', ['n'])));
  return builder.build();
}

/** Graph of `h` [n, hidden] and a slice of the head `head` [v, hidden] → `logSumExp` [n] of its logits. */
export function logSumExpStage(plan: DecoderPlan, dtypes: WeightDtypes): Graph {
  const builder = new GraphBuilder('head-sum');
  builder.output('logSumExp', op.logSumExp(logits(builder, plan, dtypes, 'v')));
  return builder.build();
}

/** Graph of `h` [n, hidden], and of the row of the head `label` [n, hidden] and the bias `labelBias` [n] of each label → `logit` [n]. */
export function labelStage(plan: DecoderPlan, dtypes: WeightDtypes): Graph {
  const builder = new GraphBuilder('head-label');
  const x_nH = normedInput(builder, plan, dtypes);
  const label_nH = builder.input('label', 'float32', ['n', plan.hiddenSize]);
  const product = op.reduceSum(op.mul(x_nH, label_nH), { axes: [-1] });
  const scaled = plan.logitScale === undefined ? product : op.mul(product, plan.logitScale);
  builder.output(
    'logit',
    plan.headBias ? op.add(scaled, builder.input('labelBias', 'float32', ['n'])) : scaled,
  );
  return builder.build();
}
