/** Vectors that stand for the outputs of experts on tokens that are not sent to them, and what else is made of kept projections. */
import { invariant } from '#core/contract/errors.ts';
import { GraphBuilder, op, type Graph } from '#worker/graph/index.ts';
import type { AdapterPlan } from '../adapters.ts';
import type { LayerPlan, MoePlan } from '../decoder-plan.ts';
import { widthOf } from './expert.ts';
import { activate } from './gated-mlp.ts';
import { linear, matrixInput, weightInput, type WeightDtypes } from './weight.ts';

/**
 * Graph of stand-ins: `y_t = scale · Σ_e [M_te = 0] w_te v_e`, the scale that of routed experts and of the layer's residual.
 * Inputs: `denseWeights` w and `multiplicity` M [N, E], `vectors` v [E, hidden]. Output: `y` [N, hidden].
 */
export function standInStage(layer: LayerPlan, hidden: number): Graph {
  invariant(layer.feedForward.kind === 'moe', 'stand-ins are for a layer of experts');
  const { experts, routedScale = 1 } = layer.feedForward;
  const builder = new GraphBuilder('stand-in');
  const weights_NE = builder.input('denseWeights', 'float32', ['N', experts]);
  const multiplicity_NE = builder.input('multiplicity', 'float32', ['N', experts]);
  const vectors_EH = builder.input('vectors', 'float32', [experts, hidden]);
  const elsewhere_NE = op.sub(1, op.minimum(multiplicity_NE, 1));
  const alpha = routedScale * (layer.residualScale ?? 1);
  builder.output('y', op.matmul(op.mul(weights_NE, elsewhere_NE), vectors_EH, { alpha }));
  return builder.build();
}

/**
 * Graph of an expert's mean output over its tokens, without gate weights and scale. The last product is linear, so the mean
 * is taken before it. Inputs: `gateProjection` and `upProjection` [n, I], `expertDown` [hidden, I] and its bias where the
 * plan has one. Output: `mean` [1, hidden].
 */
export function meanOutputStage(
  plan: MoePlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null,
): Graph {
  const { activation, expertBiases } = plan;
  const intermediate = widthOf(plan);
  const builder = new GraphBuilder('mean-output');
  const gate_nI = builder.input('gateProjection', 'float32', ['n', intermediate]);
  const up_nI = builder.input('upProjection', 'float32', ['n', intermediate]);
  const mean_1I = op.reduceMean(activate(activation, gate_nI, up_nI), { axes: [0], keepDims: true });
  const down = matrixInput(builder, 'expertDown', dtypes, [hidden, intermediate], adapters);
  const bias_H = expertBiases
    ? weightInput(builder, 'expertDownBias', dtypes('expertDownBias'), [hidden])
    : undefined;
  builder.output('mean', linear(mean_1I, down, bias_H));
  return builder.build();
}

/**
 * Graph of how strongly each neuron of an expert answers: the sum over its tokens of the absolute value it hands to the down
 * matrix. Inputs: `gateProjection` and `upProjection` [n, I]. Output: `strength` [I].
 */
export function neuronStrengthStage(plan: MoePlan): Graph {
  const intermediate = widthOf(plan);
  const builder = new GraphBuilder('neuron-strength');
  const gate_nI = builder.input('gateProjection', 'float32', ['n', intermediate]);
  const up_nI = builder.input('upProjection', 'float32', ['n', intermediate]);
  const answer_nI = op.abs(activate(plan.activation, gate_nI, up_nI));
  builder.output('strength', op.reduceSum(answer_nI, { axes: [0] }));
  return builder.build();
}
