/** How much an untouched model uses its experts on a sample of the training data, for methods that choose experts by it. */
import { shares } from '#core/load/load-metrics.ts';
import { RoutingSum } from '#core/report/index.ts';
import { readExpertScores, writeExpertScores } from '#worker/checkpoint/index.ts';
import type { MicroBatch } from '#worker/engine/index.ts';
import { sampleTokensOf } from '#worker/methods/index.ts';
import { moeLayerIndices, type ExpertScores } from '#worker/model/index.ts';
import { memoryBudgetMB, planMemory, heldExperts } from '#worker/plan/index.ts';
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
  const sums: RoutingSum[] = [];
  let seen = 0;
  for (const batch of batches) {
    const { routing } = await model.executor.logits(batch, new Int32Array(0));
    routing.forEach(({ logits_NE, choice }, layer) => {
      const sum = (sums[layer] ??= new RoutingSum(logits_NE.length / batch.inputIds.length));
      sum.add({ logits_NE, ...choice }, (token) => batch.segments[token] !== 0);
    });
    seen += batch.segments.reduce((sum, segment) => sum + (segment > 0 ? 1 : 0), 0);
    if (seen >= tokens) break;
    // Lets commands and signals in.
    await new Promise(setImmediate);
  }
  return {
    token: sums.map(({ counts_E }) => [...shares(counts_E)]),
    gate: sums.map(({ mass_E }) => [...mass_E].map((mass) => mass / seen)),
  };
}

/** Scores, and the untouched model they were measured on where it was loaded: the caller closes it, or loads on from it. */
export interface MeasuredScores {
  readonly scores: ExpertScores | null;
  readonly model: LoadedModel | null;
}

/**
 * The scores that the method of `run` asks for; null when it asks for none. They are kept in the run directory, and a
 * resumed run takes them from there.
 * @param batches one pass over the training data.
 */
export async function expertScoresOf(
  run: TrainingRun,
  batches: Iterable<MicroBatch>,
): Promise<MeasuredScores> {
  const { spec, runDir } = run;
  const tokens = sampleTokensOf(spec.method.name, spec.method.options);
  if (tokens === 0) return { scores: null, model: null };
  const kept = run.resume ? readExpertScores(runDir) : undefined;
  if (kept !== undefined) {
    const scores = { token: [...kept.token.values()], gate: [...kept.gate.values()] };
    return { scores, model: null };
  }
  const model = await loadModel({
    modelDir: spec.model.path,
    method: { name: 'full', options: {} },
    trains: false,
    threads: spec.engine.threads,
    frozenExperts: heldExperts(spec),
    planMemory: (layout) => planMemory(layout, spec, memoryBudgetMB(spec)),
  });
  try {
    const scores = await measureExperts(model, reported(batches, run.observer), tokens);
    const layers = moeLayerIndices(model.plan);
    const byLayer = (scores_LE: ExpertScores['token']) =>
      new Map(layers.map((layer, index) => [layer, scores_LE[index] ?? []]));
    writeExpertScores(runDir, { token: byLayer(scores.token), gate: byLayer(scores.gate) });
    return { scores, model };
  } catch (error) {
    model.close();
    throw error;
  }
}

/** Tells that the run is alive before each micro-batch. */
function* reported(batches: Iterable<MicroBatch>, observer: TrainingObserver): Generator<MicroBatch> {
  for (const batch of batches) {
    observer.progress('preparing', 0, 0);
    yield batch;
  }
}
