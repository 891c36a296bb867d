/** One training run, from data to the last checkpoint. */
import {
  createLoader,
  openTokenizer,
  prepareData,
  tokenCounts,
  type MicroBatch,
} from '#worker/data/index.ts';
import { lossTargets } from '#worker/engine/index.ts';
import { checkDevice, planDevice, memoryBudgetMB, planMemory, heldExperts } from '#worker/plan/index.ts';
import type { ProviderName } from '#worker/runtime/index.ts';
import { chooseProvider, type Rehearsal } from './choose-provider.ts';
import { expertScoresOf } from './expert-scores.ts';
import { checkGeneralData, generalBatches } from './general-routing.ts';
import { decoderPlanOf, loadModel, type LoadedModel } from './load-model.ts';
import { loaderOptions } from './loader-options.ts';
import { Trainer } from './trainer.ts';
import type { TrainingOutcome, TrainingRun } from './training-run.ts';
import { submatricesOf } from './warm-up.ts';

/**
 * Trains a run to its end, or until it is told to stop.
 * @throws UserError for anything wrong with model, data or options, and `train/non-finite` when the loss or the gradient
 *   stops being a number (before the update, with the batch saved).
 */
export async function train(run: TrainingRun): Promise<TrainingOutcome> {
  run.observer.progress('preparing', 0, 0);
  const { spec } = run;
  const tokenizer = await openTokenizer(spec.model.path);
  const plan = await decoderPlanOf(spec.model.path);
  const data = await prepareData(spec.data, {
    tokenizer,
    cacheDir: run.cacheDir,
    seed: spec.train.seed,
    modelVocabSize: plan.vocabularySize,
    onProgress: () => run.observer.progress('preparing', 0, 0),
  });
  // The model that was measured, until the first one that is loaded takes it over.
  let from: LoadedModel | null = null;
  try {
    const sample = createLoader(data.train, loaderOptions(spec, tokenizer.padId ?? 0, true)).pass();
    const measured = await expertScoresOf(run, sample);
    const first = createLoader(data.train, loaderOptions(spec, tokenizer.padId ?? 0, true));
    const submatrices = await submatricesOf(run, plan, () => first.next());
    if (submatrices === 'stopped') return { state: 'stopped', step: 0 };
    from = measured.model;
    const load = (provider: ProviderName, recordPlacement: boolean) => {
      const model = loadModel({
        modelDir: spec.model.path,
        method: spec.method,
        threads: spec.engine.threads,
        provider,
        recordPlacement,
        moments: spec.train.optimizer.moments,
        frozenExperts: heldExperts(spec),
        deviceWeights: spec.engine.deviceWeights,
        expertScores: measured.scores,
        from,
        submatrices,
        seed: spec.train.seed,
        tokenCounts: () => tokenCounts(data.train, plan.vocabularySize),
        planMemory: (layout) => planMemory(layout, spec, memoryBudgetMB(spec)),
        planDevice: (layout, diskLayers) => {
          const { deviceMemoryMB } = spec.engine;
          return checkDevice(planDevice(layout, spec, deviceMemoryMB, diskLayers), deviceMemoryMB);
        },
      });
      from = null;
      return model;
    };
    let rehearsed: MicroBatch | undefined;
    const choice = await chooseProvider({
      asked: spec.engine.provider,
      probe: run.probe,
      rehearse: async (provider) => rehearseStep(await load(provider, false), (rehearsed ??= first.next())),
    });
    const model = await load(choice.provider, true);
    try {
      checkGeneralData(model.session, data.general !== null);
      const general =
        data.general && createLoader(data.general, loaderOptions(spec, tokenizer.padId ?? 0, false));
      const held = await generalBatches(model, plan, general?.pass() ?? []);
      const trainer = new Trainer(run, model, data, tokenizer.padId ?? 0, tokenizer.sha256, held);
      return await trainer.run(choice);
    } finally {
      model.close();
    }
  } finally {
    from?.close();
    data.close();
  }
}

/** A step on `batch`, after one to warm up; closes the model. */
async function rehearseStep(model: LoadedModel, batch: MicroBatch): Promise<Rehearsal> {
  try {
    const tokens = Math.max(1, lossTargets(batch).at.length);
    let started = 0;
    let loss = NaN;
    for (let step = 0; step < 2; step++) {
      started = performance.now();
      model.session.beforeStep?.({ step, totalSteps: 2 });
      loss = (await model.executor.train(batch, tokens, 1)).lossSum / tokens;
      model.optimizer.gradientSquares();
    }
    return { seconds: (performance.now() - started) / 1000, loss };
  } finally {
    model.close();
  }
}
