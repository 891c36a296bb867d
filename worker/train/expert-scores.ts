/** How much an untouched model uses its experts on a sample of the training data, for methods that choose experts by it. */
import { readExpertScores, writeExpertScores } from '#worker/checkpoint/index.ts';
import type { MicroBatch } from '#worker/engine/index.ts';
import { sampleTokensOf } from '#worker/methods/index.ts';
import { moeLayerIndices, type ExpertScores } from '#worker/model/index.ts';
import { loadModel, type LoadedModel } from './load-model.ts';
import type { TrainingObserver, TrainingRun } from './training-run.ts';

/**
 * Routes micro-batches until `tokens` real ones were seen, and scores the experts on them (ESFT, arXiv 2407.01906, pooled
 * over tokens as in its released scores): token scores `count_e / Σ count`, gate scores `Σ_t p_te / tokens` over the
 * tokens that chose e, p the softmax of the logits.
 */
export async function measureExperts(
  model: LoadedModel,
  batches: Iterable<MicroBatch>,
  tokens: number,
): Promise<ExpertScores> {
  const counts: number[][] = [];
  const gates: number[][] = [];
  let seen = 0;
  for (const batch of batches) {
    const { routing } = await model.executor.logits(batch, new Int32Array(0));
    routing.forEach(({ logits_NE, choice }, layer) => {
      const experts = logits_NE.length / batch.inputIds.length;
      const count_E = (counts[layer] ??= new Array<number>(experts).fill(0));
      const gate_E = (gates[layer] ??= new Array<number>(experts).fill(0));
      for (let token = 0; token < batch.inputIds.length; token++) {
        if (batch.segments[token] === 0) continue;
        const probabilities_E = softmax(logits_NE.subarray(token * experts, (token + 1) * experts));
        for (const e of choice.chosen_NK.subarray(token * choice.k, (token + 1) * choice.k)) {
          count_E[e] = (count_E[e] ?? 0) + 1;
          gate_E[e] = (gate_E[e] ?? 0) + (probabilities_E[e] ?? 0);
        }
      }
    });
    seen += batch.segments.reduce((sum, segment) => sum + (segment > 0 ? 1 : 0), 0);
    if (seen >= tokens) break;
    // Lets commands and signals in.
    await new Promise(setImmediate);
  }
  return {
    token: counts.map((count_E) => {
      const choices = count_E.reduce((sum, count) => sum + count, 0);
      return count_E.map((count) => count / choices);
    }),
    gate: gates.map((gate_E) => gate_E.map((sum) => sum / seen)),
  };
}

function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((max, value) => Math.max(max, value), -Infinity);
  const exponentials = Float64Array.from(logits, (value) => Math.exp(value - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

/**
 * The scores that the method of `run` asks for; null when it asks for none. They are kept in the run directory, and a
 * resumed run takes them from there.
 * @param batches one pass over the training data.
 */
export async function expertScoresOf(
  run: TrainingRun,
  batches: Iterable<MicroBatch>,
): Promise<ExpertScores | null> {
  const { spec, runDir } = run;
  const tokens = sampleTokensOf(spec.method.name, spec.method.options);
  if (tokens === 0) return null;
  const kept = run.resume ? readExpertScores(runDir) : undefined;
  if (kept !== undefined) return { token: [...kept.token.values()], gate: [...kept.gate.values()] };
  const model = await loadModel({
    modelDir: spec.model.path,
    method: { name: 'full', options: {} },
    trains: false,
    threads: spec.engine.threads,
  });
  try {
    const scores = await measureExperts(model, reported(batches, run.observer), tokens);
    const layers = moeLayerIndices(model.plan);
    const byLayer = (scores_LE: ExpertScores['token']) =>
      new Map(layers.map((layer, index) => [layer, scores_LE[index] ?? []]));
    writeExpertScores(runDir, { token: byLayer(scores.token), gate: byLayer(scores.gate) });
    return scores;
  } finally {
    model.close();
  }
}

/** Tells that the run is alive before each micro-batch. */
function* reported(batches: Iterable<MicroBatch>, observer: TrainingObserver): Generator<MicroBatch> {
  for (const batch of batches) {
    observer.progress('preparing', 0, 0);
    yield batch;
  }
}
