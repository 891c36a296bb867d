/** What a model predicts with its local experts, mixed with what it predicts without. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { LocalExpertPlan } from '../addition-plans.ts';

/** The share of the local experts, [N, 1]: see `OutputMixture.shares` of the engine. */
function shares({ threshold }: LocalExpertPlan, builder: GraphBuilder, h_NH: Value, hidden: number): Value {
  const gate_1H = op.reshape(builder.input('localGate', 'float32', [hidden]), [1, hidden]);
  const rootMeanSquare_N1 = op.sqrt(op.reduceMean(op.square(h_NH), { axes: [-1], keepDims: true }));
  const isZero_N1 = op.equal(rootMeanSquare_N1, 0);
  const features_NH = op.div(h_NH, op.where(isZero_N1, 1, rootMeanSquare_N1));
  const logit_N1 = op.add(
    op.matmul(features_NH, gate_1H, { transB: true }),
    builder.input('localGateBias', 'float32', [1]),
  );
  const soft_N1 = op.sigmoid(logit_N1);
  return threshold === null ? soft_N1 : op.cast(op.greater(soft_N1, threshold), 'float32');
}

/**
 * Graph of mixed outputs, `log((1 − γ) softmax(base) + γ softmax(local))`. Inputs: `h` [N, hidden], the last hidden state without local
 * experts, `base` and `local` [N, vocabulary], the logits without and with them, and `localGate` v [hidden] and `localGateBias` c [1].
 * Output: `logits` [N, vocabulary].
 */
export function outputMixtureStage(plan: LocalExpertPlan, hidden: number, vocabulary: number): Graph {
  const builder = new GraphBuilder('output-mixture');
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const share_N1 = shares(plan, builder, h_NH, hidden);
  const part = (name: string, weight_N1: Value) =>
    op.add(op.logSoftmax(builder.input(name, 'float32', ['N', vocabulary])), op.log(weight_N1));
  // A share of 0 or 1 makes one part −∞, which adds nothing.
  const [base_NV, local_NV] = [part('base', op.sub(1, share_N1)), part('local', share_N1)];
  const largest_NV = op.maximum(base_NV, local_NV);
  const sum_NV = op.add(op.exp(op.sub(base_NV, largest_NV)), op.exp(op.sub(local_NV, largest_NV)));
  builder.output('logits', op.add(op.log(sum_NV), largest_NV));
  return builder.build();
}
