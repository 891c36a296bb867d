/** How strongly the units of some experts answer to questions. */
import { unpaddedBatch, type MoeView } from '#worker/engine/index.ts';
import { expertWidth, moeLayerIndices } from '#worker/model/index.ts';
import type { LoadedModel } from './load-model.ts';
import type { Prompt } from './prompt-usage.ts';

/** Mean peaks of the units of one projection. */
export type Peaks = Float64Array;

/**
 * For each MoE layer and each of its `experts` the peaks of the gate and of the up projection: the largest value of a unit over the
 * question tokens sent to the expert, 0 where none is, mean over prompts.
 * @param experts by MoE layer.
 */
export async function unitPeaks(
  model: LoadedModel,
  prompts: readonly Prompt[],
  experts: readonly (readonly number[])[],
  show: (done: number) => void,
): Promise<readonly (readonly Peaks[])[]> {
  const peaks = moeLayerIndices(model.plan).map((layer, l) => {
    const plan = model.plan.layers[layer]?.feedForward;
    const widthOf = (expert: number) => (plan?.kind === 'moe' ? expertWidth(plan, expert) : 0);
    return (experts[l] ?? []).flatMap((expert) => [0, 1].map(() => new Float64Array(widthOf(expert))));
  });
  for (const [done, prompt] of prompts.entries()) {
    show(done);
    await model.executor.observe(unpaddedBatch(prompt.ids), ({ trace }: MoeView, l) => {
      for (const [at, expert] of (experts[l] ?? []).entries()) {
        for (const [part, projection] of [trace.gateProjection, trace.upProjection].entries()) {
          const mean = peaks[l]?.[2 * at + part];
          if (mean !== undefined)
            addPeaks(mean, projection.of(expert).data, trace, expert, prompt, prompts.length);
        }
      }
    });
    await new Promise(setImmediate);
  }
  return peaks;
}

/** Adds the peaks of one prompt to a mean over `prompts`. */
function addPeaks(
  mean: Peaks,
  rows: Float32Array,
  { dispatch }: MoeView['trace'],
  expert: number,
  { question }: Prompt,
  prompts: number,
): void {
  const from = dispatch.offsets[expert] ?? 0;
  const asked = [...dispatch.tokens.subarray(from, dispatch.offsets[expert + 1])].flatMap((token, row) =>
    question[token] === 1 ? [row] : [],
  );
  if (asked.length === 0) return;
  for (let unit = 0; unit < mean.length; unit++) {
    let peak = -Infinity;
    for (const row of asked) peak = Math.max(peak, rows[row * mean.length + unit] as number);
    mean[unit] = (mean[unit] as number) + peak / prompts;
  }
}
