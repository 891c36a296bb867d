/**
 * The whole decoder as one graph, from token ids to logits, for programs that know nothing of stages. It is put together from
 * the very stages that training runs one by one; only what the engine does between them is written down here.
 */
import { op, type Graph, type Value } from '#worker/graph/index.ts';
import { additionsOf } from './additions.ts';
import { moeLayerIndices, type DecoderPlan, type LayerPlan } from './decoder-plan.ts';
import { BATCH, DecoderTables, SEQUENCE } from './decoder-tables.ts';
import { GraphAssembly, type TableValues, type UsedSession } from './graph-assembly.ts';
import { MoeGraph, type GraphMode } from './moe-graph.ts';
import { attentionStage } from './stages/attention.ts';
import { denseStage } from './stages/dense.ts';
import { logitsStage } from './stages/head.ts';
import { outputMixtureStage } from './stages/output-mixture.ts';
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
  const assembly = new GraphAssembly('decoder', plan, session, dtypes);
  const { builder, tables } = assembly;
  const ids_BS = builder.input('input_ids', 'int64', [BATCH, SEQUENCE]);
  const mask_BS = builder.input('attention_mask', 'int64', [BATCH, SEQUENCE]);
  const inputs = {
    attention: new DecoderTables(builder, mask_BS),
    tokens: {
      ids: op.reshape(ids_BS, [`${BATCH}*${SEQUENCE}`]),
      visits: op.reshape(op.cast(mask_BS, 'float32'), [`${BATCH}*${SEQUENCE}`, 1]),
    },
  };
  const logits_NV = mixedLogits(assembly, inputs);
  builder.output('logits', op.reshape(logits_NV, [BATCH, SEQUENCE, plan.vocabularySize]));
  return { graph: builder.build(), tables };
}

/** What all layers read beside the hidden state. */
interface DecoderInputs {
  readonly attention: DecoderTables;
  readonly tokens: { readonly ids: Value; readonly visits: Value };
}

/** Logits [N, vocabulary], of mixed outputs the logarithms of probabilities. */
function mixedLogits(assembly: GraphAssembly, inputs: DecoderInputs): Value {
  const { plan, builder } = assembly;
  const local = logitsOf(assembly, lastState(assembly, inputs, 'inference'));
  const { localExpert } = additionsOf(plan);
  if (localExpert?.mixture !== 'output') return local;
  if (!localExpert.gated) return op.logSoftmax(local);
  const h = builder.scope('base', () => lastState(assembly, inputs, 'base'));
  const stage = outputMixtureStage(localExpert, plan.hiddenSize, plan.vocabularySize);
  const feeds = { h, base: logitsOf(assembly, h), local };
  return assembly.stage(stage, feeds, assembly.weightsBy(String))('logits');
}

function logitsOf(assembly: GraphAssembly, h: Value): Value {
  const { plan, builder } = assembly;
  const weights = assembly.weightsBy((role) => (role === 'head' && plan.tiedHead ? 'embedding' : role));
  const head = logitsStage(plan, weights.dtypes);
  return builder.scope('head', () => assembly.stage(head, { h }, weights)('logits'));
}

/** The last hidden state [N, hidden]. */
function lastState(assembly: GraphAssembly, inputs: DecoderInputs, mode: GraphMode): Value {
  const { hiddenSize, vocabularySize, embeddingScale, layers } = assembly.plan;
  const embedding_VH = assembly.parameter('embedding', [vocabularySize, hiddenSize]);
  const embedded_NH = op.cast(op.gather(embedding_VH, inputs.tokens.ids, { axis: 0 }), 'float32');
  let h_NH = embeddingScale === undefined ? embedded_NH : op.mul(embedded_NH, embeddingScale);
  layers.forEach((layer, index) => {
    h_NH = assembly.builder.scope(`layers.${index}`, () =>
      layerOf(assembly, layer, index, h_NH, inputs, mode),
    );
  });
  return h_NH;
}

/** Hidden state `h_NH` through a layer. */
function layerOf(
  assembly: GraphAssembly,
  layer: LayerPlan,
  index: number,
  h_NH: Value,
  { attention: tables, tokens }: DecoderInputs,
  mode: GraphMode,
): Value {
  const { hiddenSize } = assembly.plan;
  const weights = assembly.weights(layer, index);
  const attention = attentionStage(layer, hiddenSize, weights.dtypes);
  const sum_NH = assembly.stage(attention, { h: h_NH, ...tables.of(layer.attention) }, weights)('out');
  const inputs = { h: layer.parallel ? h_NH : sum_NH, base: sum_NH };
  if (layer.feedForward.kind === 'dense')
    return assembly.stage(denseStage(layer, hiddenSize, weights.dtypes), inputs, weights)('out');
  const moeIndex = moeLayerIndices(assembly.plan).indexOf(index);
  return new MoeGraph(assembly, layer, index, moeIndex, mode).build({ ...inputs, tokens });
}
