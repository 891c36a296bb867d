/** MLPs that every token passes through: the feed-forward half of a dense layer, and the shared expert of a MoE layer. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import { invariant } from '#core/contract/errors.ts';
import type { AdapterPlan } from '../adapters.ts';
import type { ActivationPlan, LayerPlan } from '../decoder-plan.ts';
import { activate } from './gated-mlp.ts';
import { normalised } from './norm.ts';
import { linear, matrixInput, weightInput, type Matrix, type WeightDtypes } from './weight.ts';

type Weight = (role: string, shape: readonly number[]) => Value;

interface MlpWeights {
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
  /** Of the three; absent: there are none. */
  readonly biases?: Readonly<Record<'gate' | 'up' | 'down', Value>>;
  readonly mix_N1?: Value;
}

/** `down(mix ⊙ f(gate x) ⊙ up x) · scale`, f the activation; declares the values of `gatedMlpSaved` as outputs. */
function mlp(
  builder: GraphBuilder,
  x_NH: Value,
  { gate, up, down, biases, mix_N1 }: MlpWeights,
  activation: ActivationPlan | undefined,
  scale: number,
): Value {
  const gate_NI = linear(x_NH, gate, biases?.gate);
  const up_NI = linear(x_NH, up, biases?.up);
  builder.output('gateProjection', gate_NI);
  builder.output('upProjection', up_NI);
  const hidden_NI = activate(activation, gate_NI, up_NI);
  const mixed_NI = mix_N1 === undefined ? hidden_NI : op.mul(hidden_NI, mix_N1);
  return linear(mixed_NI, down, biases && (scale === 1 ? biases.down : op.mul(biases.down, scale)), scale);
}

/**
 * Graph of a dense layer's feed-forward half: `out = h + scale · norm(mlp(norm(h)))`, the norms where the plan has them.
 * Inputs: `h` [N, hidden] and the weights by role; `base` [N, hidden], which the rest is added to in place of `h` where both
 * halves of the layer read its input. Outputs: `out` [N, hidden] and the values of `gatedMlpSaved`.
 */
export function denseStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  invariant(layer.feedForward.kind === 'dense', 'a dense stage is for a dense layer');
  const { intermediate, activation, biases } = layer.feedForward;
  const builder = new GraphBuilder('dense');
  const weight: Weight = (role, shape) => weightInput(builder, role, dtypes(role), shape);
  const matrix = (role: string, shape: readonly [number, number]) =>
    matrixInput(builder, role, dtypes, shape, adapters);
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const x_NH = normalised(h_NH, layer.postAttentionNorm, 'postAttentionNorm', weight);
  const y_NH = mlp(
    builder,
    x_NH,
    {
      gate: matrix('denseGate', [intermediate, hidden]),
      up: matrix('denseUp', [intermediate, hidden]),
      down: matrix('denseDown', [hidden, intermediate]),
      ...(biases && {
        biases: {
          gate: weight('denseGateBias', [intermediate]),
          up: weight('denseUpBias', [intermediate]),
          down: weight('denseDownBias', [hidden]),
        },
      }),
    },
    activation,
    layer.residualScale ?? 1,
  );
  const out_NH = normalised(y_NH, layer.feedForwardOutputNorm ?? null, 'feedForwardOutputNorm', weight);
  const base_NH = layer.parallel ? builder.input('base', 'float32', ['N', hidden]) : h_NH;
  builder.output('out', op.add(base_NH, out_NH));
  return builder.build();
}

/**
 * Graph of a shared expert: `out = h + scale · mlp(x)`, times `sigmoid(x sharedMixᵀ)` where it is gated. Inputs: `h` (what
 * it is added to) and `x` (what experts read), both [N, hidden], and the weights by role. Outputs as in `denseStage`.
 */
export function sharedStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  invariant(
    layer.feedForward.kind === 'moe' && layer.feedForward.shared !== undefined,
    'a shared stage is for a layer with a shared expert',
  );
  const { activation, shared } = layer.feedForward;
  const { intermediate, gated, scale = 1 } = shared;
  const builder = new GraphBuilder('shared');
  const matrix = (role: string, shape: readonly [number, number]) =>
    matrixInput(builder, role, dtypes, shape, adapters);
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const x_NH = builder.input('x', 'float32', ['N', hidden]);
  const mix = gated ? { mix_N1: op.sigmoid(linear(x_NH, matrix('sharedMix', [1, hidden]))) } : {};
  const y_NH = mlp(
    builder,
    x_NH,
    {
      gate: matrix('sharedGate', [intermediate, hidden]),
      up: matrix('sharedUp', [intermediate, hidden]),
      down: matrix('sharedDown', [hidden, intermediate]),
      ...mix,
    },
    activation,
    scale * (layer.residualScale ?? 1),
  );
  builder.output('out', op.add(h_NH, y_NH));
  return builder.build();
}

/** Graph of the norm on a MoE layer's output: `out = h + norm(mix)`, all [N, hidden]. */
export function outputNormStage(layer: LayerPlan, hidden: number, dtypes: WeightDtypes): Graph {
  invariant(
    layer.feedForwardOutputNorm !== undefined,
    'an output norm stage is for a layer with an output norm',
  );
  const builder = new GraphBuilder('output-norm');
  const weight: Weight = (role, shape) => weightInput(builder, role, dtypes(role), shape);
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const mix_NH = builder.input('mix', 'float32', ['N', hidden]);
  const y_NH = normalised(mix_NH, layer.feedForwardOutputNorm, 'feedForwardOutputNorm', weight);
  builder.output('out', op.add(h_NH, y_NH));
  return builder.build();
}
