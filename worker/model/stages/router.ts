/** The router of a layer: norm and logits before the choice of experts, gate weights after it. */
import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { AdapterPlan } from '../adapters.ts';
import { learnedLogits } from '../additions.ts';
import type { LayerPlan, MoePlan } from '../decoder-plan.ts';
import { routingProbabilities } from '../routing.ts';
import type { RouteBuffers, Routing } from '../routing-slots.ts';
import { normalised } from './norm.ts';
import { linear, matrixInput, weightInput, type WeightDtypes } from './weight.ts';

/** Declares the method's buffers as inputs `buffer.<name>`. */
function bufferInputs(builder: GraphBuilder, routing: Routing, experts: number): RouteBuffers {
  const input = (name: string, shape: readonly (string | number)[]): [string, Value] => [
    name,
    builder.input(`buffer.${name}`, 'float32', shape),
  ];
  return Object.fromEntries([
    ...routing.buffers.map((name) => input(name, [experts])),
    ...(routing.tokenBuffers ?? []).map((name) => input(name, ['N', experts])),
  ]);
}

/** The experts of a layer that has a router. */
function moeOf(layer: LayerPlan): MoePlan {
  invariant(layer.feedForward.kind === 'moe', 'a router stage is for a layer of experts');
  return layer.feedForward;
}

/**
 * Graph of the router stage. Inputs: `h` [N, hidden], `postAttentionNorm`, `router` [E, hidden], the method's buffers, and
 * the biases the plan has. Outputs: `x` [N, hidden] (what the experts read), `logits` and `scores` [N, E], where the gate
 * is a learned one also `rawLogits`, and `withBase` also `baseProbabilities` [N, E] of the routers as they were, from
 * `baseRouter` and its bias. The selection bias of a checkpoint is part of the scores.
 */
export function routerStage(
  layer: LayerPlan,
  hidden: number,
  routing: Routing,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
  withBase = false,
): Graph {
  const { experts, router, learnedGate } = moeOf(layer);
  const builder = new GraphBuilder('router');
  const weight = (role: string, shape: readonly number[]) => weightInput(builder, role, dtypes(role), shape);
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const x_NH = normalised(h_NH, layer.postAttentionNorm, 'postAttentionNorm', weight);
  const raw_NE = linear(
    x_NH,
    matrixInput(builder, 'router', dtypes, [experts, hidden], adapters),
    router.bias ? weight('routerBias', [experts]) : undefined,
  );
  const logits_NE = learnedGate === undefined ? raw_NE : learnedLogits(learnedGate, raw_NE, weight);
  const scores_NE = routing.scores(logits_NE, bufferInputs(builder, routing, experts));
  // Without a norm the experts read the hidden state itself, and a graph cannot hand out its own input.
  builder.output('x', x_NH === h_NH ? op.mul(h_NH, 1) : x_NH);
  builder.output('logits', logits_NE);
  if (learnedGate !== undefined) builder.output('rawLogits', raw_NE);
  if (withBase) {
    const base_NE = linear(
      x_NH,
      matrixInput(builder, 'baseRouter', dtypes, [experts, hidden], null),
      router.bias ? weight('baseRouterBias', [experts]) : undefined,
    );
    builder.output('baseProbabilities', routingProbabilities(routing.lossScoring ?? router.scoring, base_NE));
  }
  builder.output(
    'scores',
    router.selectionBias ? op.add(scores_NE, weight('selectionBias', [experts])) : scores_NE,
  );
  return builder.build();
}

/**
 * Graph of the gate. Inputs: `logits` and `multiplicity` [N, E] and the method's buffers. Output: `weights` [N, E];
 * with a dense gate also its `denseWeights` [N, E]; with `withLosses` also `probabilities` [N, E] and `logSumExp` [N] of the
 * logits, which auxiliary losses read.
 */
export function gateStage(layer: LayerPlan, routing: Routing, withLosses: boolean): Graph {
  const { experts, router } = moeOf(layer);
  const builder = new GraphBuilder('gate');
  const logits_NE = builder.input('logits', 'float32', ['N', experts]);
  const multiplicity_NE = builder.input('multiplicity', 'float32', ['N', experts]);
  const buffers = bufferInputs(builder, routing, experts);
  builder.output('weights', routing.weights(logits_NE, multiplicity_NE, buffers));
  if (routing.dense !== undefined)
    builder.output('denseWeights', routing.dense.weights(logits_NE, multiplicity_NE, buffers));
  if (withLosses) {
    builder.output('probabilities', routingProbabilities(routing.lossScoring ?? router.scoring, logits_NE));
    builder.output('logSumExp', op.logSumExp(logits_NE));
  }
  return builder.build();
}
