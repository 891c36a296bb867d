/**
 * The attention half of a layer: `out = h + output(attention(inputNorm(h)))`.
 *
 * Short rows go through one graph. Scores grow with the square of a row, so that long rows go through three: heads of all
 * tokens, the mixing of values for one block of queries at a time, and the output. Decoding uses the same three, with keys
 * and values of earlier tokens from a cache; where each row has one new token, the last two are one.
 */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { AdapterPlan } from '../adapters.ts';
import { attentionSaved } from '../attention-parameters.ts';
import type { AttentionPlan, LayerPlan, RopePlan } from '../decoder-plan.ts';
import {
  headSizes,
  mergeHeads,
  mixHeads,
  splitHeads,
  type AttentionSite,
  type Heads,
} from './attention-site.ts';
import { gatedContext, groupedQueryHeads } from './grouped-query-attention.ts';
import { latentHeads } from './latent-attention.ts';
import { normalised } from './norm.ts';
import { linear, matrixInput, weightInput, type WeightDtypes } from './weight.ts';

/** What the graphs of a layer's attention are built from. */
interface AttentionBuild {
  readonly builder: GraphBuilder;
  readonly layer: LayerPlan;
  readonly hidden: number;
  readonly weight: AttentionSite['weight'];
  readonly matrix: AttentionSite['matrix'];
}

function attentionBuild(
  name: string,
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null,
): AttentionBuild {
  const builder = new GraphBuilder(name);
  return {
    builder,
    layer,
    hidden,
    weight: (role, shape) => weightInput(builder, role, dtypes(role), shape),
    matrix: (role, shape) => matrixInput(builder, role, dtypes, shape, adapters),
  };
}

/** The heads of `h_NH`, from its norm on; what they save becomes outputs. */
function headsOf({ builder, layer, hidden, weight, matrix }: AttentionBuild, h_NH: Value): Heads {
  const { attention, inputNorm } = layer;
  const site: AttentionSite = {
    x_NH: normalised(h_NH, inputNorm, 'inputNorm', weight),
    hidden,
    weight,
    matrix,
    rotate: rotation(builder, attention.rope),
    save: (name, value) => {
      builder.output(name, value);
      return value;
    },
  };
  return attention.kind === 'latent' ? latentHeads(attention, site) : groupedQueryHeads(attention, site);
}

function rotation(builder: GraphBuilder, used: RopePlan | null): AttentionSite['rotate'] {
  // Where they do not enter, positions still say how many rows there are.
  const positions = builder.input('positions', 'int64', ['B', 'S']);
  if (used === null) return (x) => x;
  const table = (name: string) => builder.input(name, 'float32', ['P', used.inverseFrequencies.length]);
  const [cos, sin] = [table('cos'), table('sin')];
  return (x_BHSD, rope) =>
    op.rotary(x_BHSD, positions, cos, sin, {
      interleaved: rope.layout === 'interleaved',
      rotaryDim: 2 * rope.inverseFrequencies.length,
    });
}

function contextOf(attention: AttentionPlan, mixed_NC: Value, gate: Value | undefined): Value {
  return attention.kind === 'latent' ? mixed_NC : gatedContext(attention, mixed_NC, gate);
}

/** `h + norm(output(context))` */
function outputOf({ layer, hidden, weight, matrix }: AttentionBuild, h_NH: Value, context_NC: Value): Value {
  const { attention, residualScale = 1, attentionOutputNorm = null } = layer;
  const { heads, valueDim } = headSizes(attention);
  const bias = attention.biases === 'all' || attention.biases === true;
  const scaled = (value: Value) => (residualScale === 1 ? value : op.mul(value, residualScale));
  const y_NH = linear(
    context_NC,
    matrix('output', [hidden, heads * valueDim]),
    bias ? scaled(weight('outputBias', [hidden])) : undefined,
    residualScale,
  );
  return op.add(h_NH, normalised(y_NH, attentionOutputNorm, 'attentionOutputNorm', weight));
}

/**
 * Graph of the whole attention.
 *
 * Inputs: `h` [N, hidden], `positions` [B, S] int64, `cos` and `sin` [P, d/2] (where positions enter), `mask`
 * [B, 1, S, S] added to the scores, and the layer's weights by role; N = B·S. Outputs: `out` [N, hidden] and the values of
 * `attentionSaved`.
 */
export function attentionStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  const build = attentionBuild('attention', layer, hidden, dtypes, adapters);
  const { builder, weight } = build;
  const { attention } = layer;
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const heads = headsOf(build, h_NH);
  const mask_B1SS = builder.input('mask', 'float32', ['B', 1, 'S', 'S']);
  const mixed_NC = mixHeads(attention, heads, mask_B1SS, weight, 'N');
  if ('mixed' in attentionSaved(attention)) builder.output('mixed', mixed_NC);
  const context_NC = contextOf(attention, mixed_NC, heads.gate);
  builder.output('context', context_NC);
  builder.output('out', outputOf(build, h_NH, context_NC));
  return builder.build();
}

/** Values of the heads that the backward pass reads, with their width per token. */
export function headsSaved(attention: AttentionPlan): Readonly<Record<string, number>> {
  const saved = Object.entries(attentionSaved(attention));
  return Object.fromEntries(saved.filter(([name]) => name !== 'context' && name !== 'mixed'));
}

/** The heads of a token as the stages of long rows pass them on, with their width. */
export function headWidths(attention: AttentionPlan) {
  const { heads, keyValueHeads, headDim, valueDim } = headSizes(attention);
  return {
    queryHeads: heads * headDim,
    keyHeads: keyValueHeads * headDim,
    valueHeads: keyValueHeads * valueDim,
    mixed: heads * valueDim,
    gateProjection: headsSaved(attention)['gateProjection'],
  };
}

/**
 * Graph of the heads. Inputs as in `attentionStage` without the mask. Outputs: `queryHeads`, `keyHeads` and `valueHeads`,
 * rotated and normalised, [N, `headWidths`], and the values of `headsSaved`.
 */
export function headsStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  const build = attentionBuild('attention-heads', layer, hidden, dtypes, adapters);
  const widths = headWidths(layer.attention);
  const { query, key, value } = headsOf(build, build.builder.input('h', 'float32', ['N', hidden]));
  build.builder.output('queryHeads', mergeHeads(query, widths.queryHeads, 'N'));
  build.builder.output('keyHeads', mergeHeads(key, widths.keyHeads, 'N'));
  build.builder.output('valueHeads', mergeHeads(value, widths.valueHeads, 'N'));
  return build.builder.build();
}

/**
 * Graph of the mixing of values for some queries of each row. Inputs: `queryHeads` [B·T, …], `keyHeads` and `valueHeads`
 * [B·U, …], `mask` [B, 1, T, U] added to the scores, and `sinks`. Output: `mixed` [B·T, heads · valueDim].
 */
export function mixStage(layer: LayerPlan, hidden: number, dtypes: WeightDtypes): Graph {
  const { attention } = layer;
  const { builder, weight } = attentionBuild('attention-mix', layer, hidden, dtypes, null);
  const { heads, keyValueHeads, headDim, valueDim } = headSizes(attention);
  const widths = headWidths(attention);
  const input = (name: 'queryHeads' | 'keyHeads' | 'valueHeads', tokens: string) =>
    builder.input(name, 'float32', [tokens, widths[name]]);
  const query = splitHeads(input('queryHeads', 'M'), heads, headDim, ['B', 'T']);
  const key = splitHeads(input('keyHeads', 'L'), keyValueHeads, headDim, ['B', 'U']);
  const value = splitHeads(input('valueHeads', 'L'), keyValueHeads, valueDim, ['B', 'U']);
  const mask_B1TU = builder.input('mask', 'float32', ['B', 1, 'T', 'U']);
  builder.output('mixed', mixHeads(attention, { query, key, value }, mask_B1TU, weight, 'M'));
  return builder.build();
}

/**
 * Graph of the output. Inputs: `h` [N, hidden], `mixed` [N, heads · valueDim], `gateProjection` where the context is gated,
 * and the weights by role. Output: `out` [N, hidden].
 */
export function attentionOutputStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  const build = attentionBuild('attention-output', layer, hidden, dtypes, adapters);
  const { builder } = build;
  const { attention } = layer;
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const mixed_NC = builder.input('mixed', 'float32', ['N', headWidths(attention).mixed]);
  builder.output('out', outputOf(build, h_NH, contextOf(attention, mixed_NC, gateInput(build))));
  return builder.build();
}

/**
 * Graph of mixing and output for one new token in each row, as decoding has them. Inputs: `h` [N, hidden], `queryHeads` [N, …],
 * `keyHeads` and `valueHeads` [U·N, …] of all places of all rows, in this order, `mask` [N, 1, 1, U] added to the scores, and what
 * else the graphs of both read. Output: `out` [N, hidden].
 */
export function stepStage(
  layer: LayerPlan,
  hidden: number,
  dtypes: WeightDtypes,
  adapters: AdapterPlan | null = null,
): Graph {
  const build = attentionBuild('attention-step', layer, hidden, dtypes, adapters);
  const { builder, weight } = build;
  const { attention } = layer;
  const { heads, keyValueHeads, headDim, valueDim } = headSizes(attention);
  const widths = headWidths(attention);
  const h_NH = builder.input('h', 'float32', ['N', hidden]);
  const query_NQ1D = op.reshape(builder.input('queryHeads', 'float32', ['N', widths.queryHeads]), [
    'N',
    heads,
    1,
    headDim,
  ]);
  const seen = (name: 'keyHeads' | 'valueHeads', width: number) =>
    op.transpose(
      op.reshape(builder.input(name, 'float32', ['L', widths[name]]), ['U', 'N', keyValueHeads, width]),
      { perm: [1, 2, 0, 3] },
    );
  const tokens = { query: query_NQ1D, key: seen('keyHeads', headDim), value: seen('valueHeads', valueDim) };
  const mask_N11U = builder.input('mask', 'float32', ['N', 1, 1, 'U']);
  const mixed_NC = mixHeads(attention, tokens, mask_N11U, weight, 'N');
  builder.output('out', outputOf(build, h_NH, contextOf(attention, mixed_NC, gateInput(build))));
  return builder.build();
}

/** What gates the context, as the heads made it. */
function gateInput({ builder, layer }: AttentionBuild): Value | undefined {
  const { gateProjection } = headsSaved(layer.attention);
  return gateProjection === undefined
    ? undefined
    : builder.input('gateProjection', 'float32', ['N', gateProjection]);
}
