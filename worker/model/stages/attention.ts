/** The attention half of a layer: `out = h + output(attention(inputNorm(h)))`. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { AdapterPlan } from '../adapters.ts';
import { attentionSaved } from '../attention-parameters.ts';
import type { LayerPlan, RopePlan } from '../decoder-plan.ts';
import type { AttentionSite } from './attention-site.ts';
import { groupedQueryContext } from './grouped-query-attention.ts';
import { latentContext } from './latent-attention.ts';
import { normalised } from './norm.ts';
import { linear, matrixInput, weightInput, type WeightDtypes } from './weight.ts';

/**
 * Graph of the attention stage.
 *
 * Inputs: `h` [N, hidden], `positions` [B, S] int64, `cos` and `sin` [P, d/2] (unless positions do not enter), `mask`
 * [B, 1, S, S] added to the scores, and the layer's weights by role; N = B·S. Outputs: `out` [N, hidden] and the values of
 * `attentionSaved`.
 */
export function attentionStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  const { attention, residualScale = 1 } = layer;
  const builder = new GraphBuilder('attention');
  const weight = (role: string, shape: readonly number[]) => weightInput(builder, role, dtypes(role), shape);
  const matrix = (role: string, shape: readonly [number, number]) =>
    matrixInput(builder, role, dtypes, shape, adapters);
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const angles = (rope: RopePlan) => {
    const table = (name: string) => builder.input(name, 'float32', ['P', rope.inverseFrequencies.length]);
    return {
      positions: builder.input('positions', 'int64', ['B', 'S']),
      cos: table('cos'),
      sin: table('sin'),
    };
  };
  const inputs = attention.rope === null ? null : angles(attention.rope);
  const mask_B1SS = builder.input('mask', 'float32', ['B', 1, 'S', 'S']);
  const site: AttentionSite = {
    x_NH: normalised(h_NH, layer.inputNorm, 'inputNorm', weight),
    hidden,
    mask_B1SS,
    weight,
    matrix,
    rotate: (x_BHSD, rope) =>
      inputs === null
        ? x_BHSD
        : op.rotary(x_BHSD, inputs.positions, inputs.cos, inputs.sin, {
            interleaved: rope.layout === 'interleaved',
            rotaryDim: 2 * rope.inverseFrequencies.length,
          }),
    save: (name, value) => {
      builder.output(name, value);
      return value;
    },
  };
  const context_NQ =
    attention.kind === 'latent' ? latentContext(attention, site) : groupedQueryContext(attention, site);
  const width = attentionSaved(attention)['context'] ?? 0;
  const bias = attention.kind === 'grouped-query' && attention.biases === 'all';
  const scaled = (value: Value) => (residualScale === 1 ? value : op.mul(value, residualScale));
  const y_NH = linear(
    site.save('context', context_NQ),
    matrix('output', [hidden, width]),
    bias ? scaled(weight('outputBias', [hidden])) : undefined,
    residualScale,
  );
  const out_NH = normalised(y_NH, layer.attentionOutputNorm ?? null, 'attentionOutputNorm', weight);
  builder.output('out', op.add(h_NH, out_NH));
  return builder.build();
}
