/** The router of a layer: norm and logits before the choice of experts, gate weights after it. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { LayerPlan } from '../decoder-plan.ts';
import type { RouteBuffers, Routing } from '../slots.ts';
import { weightInput, type WeightDtypes } from './weight.ts';

/** Declares the method's per-expert buffers as inputs `buffer.<name>`. */
function bufferInputs(builder: GraphBuilder, routing: Routing, experts: number): RouteBuffers {
  return Object.fromEntries(
    routing.buffers.map((name): [string, Value] => [
      name,
      builder.input(`buffer.${name}`, 'float32', [experts]),
    ]),
  );
}

/**
 * Graph of the router stage. Inputs: `h` [N, hidden], `postAttentionNorm`, `router` [E, hidden] and the method's
 * buffers. Outputs: `x` [N, hidden] (what the experts read), `logits` and `scores` [N, E].
 */
export function routerStage(layer: LayerPlan, hidden: number, routing: Routing, dtypes: WeightDtypes): Graph {
  const { experts } = layer.feedForward;
  const builder = new GraphBuilder('router');
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const norm = weightInput(builder, 'postAttentionNorm', dtypes('postAttentionNorm'), [hidden]);
  const router_EH = weightInput(builder, 'router', dtypes('router'), [experts, hidden]);
  const x_NH = op.rmsNorm(h_NH, norm, { eps: layer.postAttentionNorm.epsilon });
  const logits_NE = op.matmul(x_NH, router_EH, { transB: true });
  builder.output('x', x_NH);
  builder.output('logits', logits_NE);
  builder.output('scores', routing.scores(logits_NE, bufferInputs(builder, routing, experts)));
  return builder.build();
}

/**
 * Graph of the gate. Inputs: `logits` and `multiplicity` [N, E] and the method's buffers. Output: `weights` [N, E];
 * with `withLosses` also `probabilities` [N, E] and `logSumExp` [N] of the raw logits, which auxiliary losses read.
 */
export function gateStage(layer: LayerPlan, routing: Routing, withLosses: boolean): Graph {
  const { experts } = layer.feedForward;
  const builder = new GraphBuilder('gate');
  const logits_NE = builder.input('logits', 'float32', ['N', experts]);
  const multiplicity_NE = builder.input('multiplicity', 'float32', ['N', experts]);
  const buffers = bufferInputs(builder, routing, experts);
  builder.output('weights', routing.weights(logits_NE, multiplicity_NE, buffers));
  if (withLosses) {
    builder.output('probabilities', op.softmax(logits_NE));
    builder.output('logSumExp', op.logSumExp(logits_NE));
  }
  return builder.build();
}
