/** The attention half of a layer: `out = h + output(attention(inputNorm(h)))`. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { LayerPlan } from '../decoder-plan.ts';
import { weightInput, type WeightDtypes } from './weight.ts';

/** Forward values worth keeping for the backward pass: everything that costs a matrix product but the scores. */
export const attentionSaved = ['queryProjection', 'keyProjection', 'valueProjection', 'context'] as const;

/**
 * Graph of the attention stage.
 *
 * Inputs: `h` [N, hidden], `positions` [B, S] int64, `cos` and `sin` [P, d/2], `mask` [B, 1, S, S] added to the scores,
 * and the layer's weights by role; N = B·S. Outputs: `out` [N, hidden] and the values of `attentionSaved`.
 */
export function attentionStage(layer: LayerPlan, hidden: number, dtypes: WeightDtypes): Graph {
  const { attention } = layer;
  const { heads, keyValueHeads, headDim } = attention;
  const queryWidth = heads * headDim;
  const keyWidth = keyValueHeads * headDim;
  const builder = new GraphBuilder('attention');
  const weight = (role: string, shape: readonly number[]) => weightInput(builder, role, dtypes(role), shape);

  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const positions_BS = builder.input('positions', 'int64', ['B', 'S']);
  const cos_PD = builder.input('cos', 'float32', ['P', attention.rope.inverseFrequencies.length]);
  const sin_PD = builder.input('sin', 'float32', ['P', attention.rope.inverseFrequencies.length]);
  const mask_B1SS = builder.input('mask', 'float32', ['B', 1, 'S', 'S']);

  const x_NH = op.rmsNorm(h_NH, weight('inputNorm', [hidden]), { eps: layer.inputNorm.epsilon });
  const project = (role: string, output: string, width: number) => {
    const projected = op.matmul(x_NH, weight(role, [width, hidden]), { transB: true });
    builder.output(output, projected);
    return projected;
  };
  const clip = (value: Value) =>
    attention.clip === null ? value : op.clip(value, { min: -attention.clip, max: attention.clip });
  const split = (value: Value, count: number) =>
    op.transpose(op.reshape(value, ['B', 'S', count, headDim]), { perm: [0, 2, 1, 3] });
  const normalise = (value: Value, role: 'queryNorm' | 'keyNorm', width: number) =>
    attention.queryKeyNorm.kind === 'none'
      ? value
      : op.rmsNorm(value, weight(role, [width]), { eps: attention.queryKeyNorm.epsilon });
  const rotate = (value: Value) =>
    op.rotary(value, positions_BS, cos_PD, sin_PD, { interleaved: attention.rope.layout === 'interleaved' });

  const query = clip(normalise(project('query', 'queryProjection', queryWidth), 'queryNorm', queryWidth));
  const key = clip(normalise(project('key', 'keyProjection', keyWidth), 'keyNorm', keyWidth));
  const value = clip(project('value', 'valueProjection', keyWidth));
  const query_BQSD = rotate(split(query, heads));
  const key_BQSD = shareHeads(rotate(split(key, keyValueHeads)), keyValueHeads, heads, headDim);
  const value_BQSD = shareHeads(split(value, keyValueHeads), keyValueHeads, heads, headDim);

  const scores_BQSS = op.add(
    op.matmul(query_BQSD, key_BQSD, { transB: true, alpha: attention.scale }),
    mask_B1SS,
  );
  const mixed_BQSD = op.matmul(op.softmax(scores_BQSS), value_BQSD);
  const context_NQ = op.reshape(op.transpose(mixed_BQSD, { perm: [0, 2, 1, 3] }), ['N', queryWidth]);
  builder.output('context', context_NQ);
  builder.output(
    'out',
    op.add(h_NH, op.matmul(context_NQ, weight('output', [hidden, queryWidth]), { transB: true })),
  );
  return builder.build();
}

/** Repeats each key or value head for the group of query heads that reads it: [B, kv, S, D] → [B, heads, S, D]. */
function shareHeads(value: Value, keyValueHeads: number, heads: number, headDim: number): Value {
  if (keyValueHeads === heads) return value;
  const group = heads / keyValueHeads;
  const grouped = op.expand(op.unsqueeze(value, { axes: [2] }), ['B', keyValueHeads, group, 'S', headDim]);
  return op.reshape(grouped, ['B', heads, 'S', headDim]);
}
