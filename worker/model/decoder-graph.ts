/**
 * The whole decoder as one graph, from token ids to logits, for programs that know nothing of stages. It is put together from
 * the very stages that training runs one by one; only what the engine does between them is written down here.
 */
import { op, type Graph, type Value } from '#worker/graph/index.ts';
import { additionsOf } from './additions.ts';
import { moeLayerIndices, type DecoderPlan, type LayerPlan } from './decoder-plan.ts';
import { BATCH, DecoderTables, SEQUENCE } from './decoder-tables.ts';
import { GraphAssembly, type TableValues, type UsedSession, type Values } from './graph-assembly.ts';
import { MoeGraph, unsupportedInGraph } from './moe-graph.ts';
import { attentionStage } from './stages/attention.ts';
import { denseStage } from './stages/dense.ts';
import { logitsStage } from './stages/head.ts';
import type { StoredDtype } from './stages/weight.ts';

/** A decoder as a graph. */
export interface DecoderGraph {
  /**
   * Inputs: `input_ids` and `attention_mask` (1 for a token, 0 for padding), [batch, sequence] as int64; then parameters by
   * their ids, and `tables`. Output: `logits` [batch, sequence, vocabulary].
   */
  readonly graph: Graph;
  /** What a method decided, by the name of the input. */
  readonly tables: ReadonlyMap<string, TableValues>;
}

/**
 * The decoder of a plan as it is used after training; adapters are merged into its weights.
 * @param dtypes how each parameter is stored, by id.
 * @throws UserError `export/onnx-unsupported` naming what a graph cannot say.
 */
export function decoderGraph(
  plan: DecoderPlan,
  session: UsedSession,
  dtypes: (id: string) => StoredDtype,
): DecoderGraph {
  if (additionsOf(plan).localExpert?.mixture === 'output')
    throw unsupportedInGraph(
      'the mixture of outputs of local experts ("mixture": "output") runs the model twice',
    );
  const assembly = new GraphAssembly('decoder', plan, session, dtypes);
  const { builder, tables } = assembly;
  const { hiddenSize, vocabularySize, embeddingScale, tiedHead } = plan;
  const ids_BS = builder.input('input_ids', 'int64', [BATCH, SEQUENCE]);
  const mask_BS = builder.input('attention_mask', 'int64', [BATCH, SEQUENCE]);
  const attentionTables = new DecoderTables(builder, mask_BS);
  const tokens = {
    ids: op.reshape(ids_BS, [`${BATCH}*${SEQUENCE}`]),
    visits: op.reshape(op.cast(mask_BS, 'float32'), [`${BATCH}*${SEQUENCE}`, 1]),
  };
  const embedding_VH = assembly.parameter('embedding', [vocabularySize, hiddenSize]);
  const embedded_NH = op.cast(op.gather(embedding_VH, tokens.ids, { axis: 0 }), 'float32');
  let h_NH = embeddingScale === undefined ? embedded_NH : op.mul(embedded_NH, embeddingScale);
  plan.layers.forEach((layer, index) => {
    h_NH = builder.scope(`layers.${index}`, () =>
      layerOf(assembly, layer, index, h_NH, attentionTables, tokens),
    );
  });
  const weights = assembly.weightsBy((role) => (role === 'head' && tiedHead ? 'embedding' : role));
  const head = logitsStage(plan, weights.dtypes);
  const logits_NV = builder.scope('head', () => assembly.stage(head, { h: h_NH }, weights)('logits'));
  builder.output('logits', op.reshape(logits_NV, [BATCH, SEQUENCE, vocabularySize]));
  return { graph: builder.build(), tables };
}

/** Hidden state `h_NH` through a layer. */
function layerOf(
  assembly: GraphAssembly,
  layer: LayerPlan,
  index: number,
  h_NH: Value,
  tables: DecoderTables,
  tokens: Values,
): Value {
  const { hiddenSize } = assembly.plan;
  const weights = assembly.weights(layer, index);
  const attention = attentionStage(layer, hiddenSize, weights.dtypes);
  const sum_NH = assembly.stage(attention, { h: h_NH, ...tables.of(layer.attention) }, weights)('out');
  const inputs = { h: layer.parallel ? h_NH : sum_NH, base: sum_NH };
  if (layer.feedForward.kind === 'dense')
    return assembly.stage(denseStage(layer, hiddenSize, weights.dtypes), inputs, weights)('out');
  const moeIndex = moeLayerIndices(assembly.plan).indexOf(index);
  return new MoeGraph(assembly, layer, index, moeIndex).build({ ...inputs, tokens });
}
