/** One expert on its own tokens. */
import { GraphBuilder, op, type Dim, type Graph } from '#worker/graph/index.ts';
import type { AdapterPlan } from '../adapters.ts';
import type { LayerPlan, MoePlan } from '../decoder-plan.ts';
import { activate } from './gated-mlp.ts';
import { linear, matrixInput, weightInput, type WeightDtypes } from './weight.ts';

/**
 * Graph of an expert: `y = (w ⊙ f(x gateᵀ) ⊙ x upᵀ) downᵀ`, times the scale of routed experts and of the layer's
 * residual.
 *
 * The gate weight multiplies the hidden activation instead of the output, which is the same number (the last product is
 * linear) and lets its gradient be taken without keeping the output. A bias of the last product is multiplied by itself.
 *
 * Inputs: `x` [n, hidden], `weight` [n, 1], `expertGate` and `expertUp` [I, hidden], `expertDown` [hidden, I], and their
 * biases where the plan has them. Outputs: `y` [n, hidden] and the values of `gatedMlpSaved`.
 */
export function expertStage(
  plan: MoePlan,
  hidden: number,
  dtypes: WeightDtypes,
  residualScale: LayerPlan['residualScale'] = 1,
  adapters: AdapterPlan | null = null,
): Graph {
  const builder = new GraphBuilder('expert');
  declareExpert(builder, plan, hidden, dtypes, residualScale, adapters);
  return builder.build();
}

/**
 * Graph of several experts side by side, each on its own tokens: inputs and outputs are those of `expertStage` with the
 * number of the expert in the group, `x.0`, `expertGate.0` and so on.
 * @param dtypes one for each expert.
 */
export function expertGroupStage(
  plan: MoePlan,
  hidden: number,
  dtypes: readonly WeightDtypes[],
  residualScale: LayerPlan['residualScale'] = 1,
  adapters: AdapterPlan | null = null,
): Graph {
  const builder = new GraphBuilder('experts');
  for (const [at, own] of dtypes.entries())
    builder.copy(at, () => declareExpert(builder, plan, hidden, own, residualScale, adapters));
  return builder.build();
}

/** Width of an expert in a graph: open where experts of a layer differ, so that they share programs. */
export function widthOf({ intermediate, widths }: MoePlan): Dim {
  return widths === undefined ? intermediate : 'I';
}

function declareExpert(
  builder: GraphBuilder,
  plan: MoePlan,
  hidden: number,
  dtypes: WeightDtypes,
  residualScale: number,
  adapters: AdapterPlan | null,
): void {
  const { activation, expertBiases, routedScale = 1 } = plan;
  const intermediate = widthOf(plan);
  const scale = routedScale * residualScale;
  const matrix = (role: string, shape: readonly [Dim, Dim]) =>
    matrixInput(builder, role, dtypes, shape, adapters, 'n');
  const bias = (role: string, width: Dim) =>
    expertBiases ? weightInput(builder, role, dtypes(role), [width]) : undefined;
  const x_nH = builder.input('x', 'float32', ['n', hidden]);
  const weight_n1 = builder.input('weight', 'float32', ['n', 1]);
  const gate_nI = linear(
    x_nH,
    matrix('expertGate', [intermediate, hidden]),
    bias('expertGateBias', intermediate),
  );
  const up_nI = linear(x_nH, matrix('expertUp', [intermediate, hidden]), bias('expertUpBias', intermediate));
  const hidden_nI = op.mul(activate(activation, gate_nI, up_nI), weight_n1);
  builder.output('gateProjection', gate_nI);
  builder.output('upProjection', up_nI);
  const y_nH = linear(hidden_nI, matrix('expertDown', [hidden, intermediate]), undefined, scale);
  const downBias_H = bias('expertDownBias', hidden);
  const weighted_n1 = scale === 1 ? weight_n1 : op.mul(weight_n1, scale);
  builder.output('y', downBias_H === undefined ? y_nH : op.add(y_nH, op.mul(downBias_H, weighted_n1)));
}
