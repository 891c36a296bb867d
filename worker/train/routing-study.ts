/** How a model routes a sample, and how alike and how loud its experts are. */
import {
  DriftSum,
  OutputCosines,
  RoutingSum,
  coSelection_EE,
  cosines_EE,
  type RoutingDrift,
  type TokenRouting,
} from '#core/report/index.ts';
import type { MicroBatch } from '#worker/engine/index.ts';
import { moeLayerIndices, parameterId } from '#worker/model/index.ts';
import type { LoadedModel } from './load-model.ts';

/** One MoE layer on a sample. */
export interface LayerStudy {
  /** Index in the decoder. */
  readonly layer: number;
  readonly sum: RoutingSum;
  /** φ of the choices, mean cosine of outputs on common tokens, and cosine of the down matrices; `[E × E]`. */
  readonly coSelection_EE: Float64Array;
  readonly outputCosine_EE: Float64Array;
  readonly downCosine_EE: Float64Array;
  /** Largest magnitude of an expert's output on tokens sent to it. */
  readonly largestOutput_E: Float64Array;
}

/**
 * Routes `batches` and looks at every MoE layer.
 * @param probeTokens tokens, from the first on, for which every expert is computed.
 */
export async function studyRouting(
  model: LoadedModel,
  batches: Iterable<MicroBatch>,
  probeTokens: number,
): Promise<LayerStudy[]> {
  const moe = moeLayerIndices(model.plan);
  const layers: { sum: RoutingSum; cosines: OutputCosines; largest_E: Float64Array }[] = [];
  let probed = 0;
  for (const batch of batches) {
    const real = (token: number) => batch.segments[token] !== 0;
    const probe = Int32Array.from(batch.segments.keys())
      .filter(real)
      .slice(0, probeTokens - probed);
    probed += probe.length;
    await model.executor.observe(batch, async ({ trace, outputs }, l) => {
      const { experts, offsets, tokens } = trace.dispatch;
      const own = (layers[l] ??= {
        sum: new RoutingSum(experts),
        cosines: new OutputCosines(experts),
        largest_E: new Float64Array(experts),
      });
      const { logits, weights, choice } = trace;
      own.sum.add({ logits_NE: logits.data, weights_NE: weights.data, ...choice }, real);
      const [, hidden = 0] = trace.x.shape;
      const perToken = Array.from(probe, () => new Float32Array(experts * hidden));
      for (let e = 0; e < experts; e++) {
        for (const value of await outputs(e, tokens.slice(offsets[e], offsets[e + 1])))
          own.largest_E[e] = Math.max(own.largest_E[e] as number, Math.abs(value));
        const y = await outputs(e, probe);
        perToken.forEach((outputs_EH, row) => {
          outputs_EH.set(y.subarray(row * hidden, (row + 1) * hidden), e * hidden);
        });
      }
      for (const outputs_EH of perToken) own.cosines.add(outputs_EH);
    });
  }
  return layers.map(({ sum, cosines, largest_E }, l) => ({
    layer: moe[l] ?? l,
    sum,
    coSelection_EE: coSelection_EE(sum),
    outputCosine_EE: cosines.mean_EE(),
    downCosine_EE: downCosines(model, moe[l] ?? l, sum.experts),
    largestOutput_E: largest_E,
  }));
}

/** NaN where experts have different widths: their neurons cannot be laid side by side. */
function downCosines(model: LoadedModel, layer: number, experts: number): Float64Array {
  const plan = model.plan.layers[layer]?.feedForward;
  if (plan?.kind === 'moe' && plan.widths !== undefined) return new Float64Array(experts ** 2).fill(NaN);
  const all = Array.from({ length: experts }, (_, e) =>
    model.store.values(parameterId('expertDown', layer, e)),
  );
  const width = all[0]?.length ?? 0;
  const vectors = new Float32Array(experts * width);
  all.forEach((values, e) => vectors.set(values, e * width));
  return cosines_EE(vectors, experts);
}

/** Drift of routing on the same inputs, each model with its own hidden states; one for each MoE layer. */
export async function measureDrift(
  base: LoadedModel,
  tuned: LoadedModel,
  batches: Iterable<MicroBatch>,
): Promise<RoutingDrift[]> {
  const sums: DriftSum[] = [];
  for (const batch of batches) {
    const routingOf = async (model: LoadedModel): Promise<TokenRouting[]> => {
      const { routing } = await model.executor.logits(batch, new Int32Array(0));
      return routing.map(({ logits_NE, choice }) => ({ logits_NE, ...choice }));
    };
    const [before, after] = [await routingOf(base), await routingOf(tuned)];
    before.forEach((routing, l) => {
      const sum = (sums[l] ??= new DriftSum(routing.logits_NE.length / batch.inputIds.length));
      sum.add(routing, after[l] ?? routing, (token) => batch.segments[token] !== 0);
    });
    await new Promise(setImmediate);
  }
  return sums.map((sum) => sum.means());
}
