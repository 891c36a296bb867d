/** The steps of a run: updates, evaluations, checkpoints. */
import { methodLabel } from '#core/contract/methods-together.ts';
import type { Evaluation } from '#core/contract/metrics.ts';
import { createLoader, type Dataset, type Loader, type PreparedData } from '#worker/data/index.ts';
import { expertGradientNorms, gradientNorm, lossTargets } from '#worker/engine/index.ts';
import { nameOperators, summarizePlacement } from '#worker/runtime/index.ts';
import { checkFinite } from './check-finite.ts';
import type { ChosenProvider } from './choose-provider.ts';
import { finishStep } from './finish-step.ts';
import type { GeneralBatch } from './general-routing.ts';
import type { LoadedModel } from './load-model.ts';
import { loaderOptions } from './loader-options.ts';
import { RoutingTotals } from './routing-totals.ts';
import { writeRouterFiles } from './router-files.ts';
import { runFacts, runIdentity } from './run-facts.ts';
import { memoryMeasures, routingMeasures } from './run-measures.ts';
import { learningRate, warmupSteps, type Schedule } from './schedule.ts';
import { restoreTrainer, saveTrainer, type Boundary } from './trainer-state.ts';
import type { TrainingCommand, TrainingOutcome, TrainingRun } from './training-run.ts';

/** Takes the steps of a run, from the first or the last checkpoint on. */
export class Trainer {
  readonly #run: TrainingRun;
  readonly #model: LoadedModel;
  readonly #data: PreparedData;
  readonly #padId: number;
  readonly #tokenizerHash: string;
  /** On which routing is held to that of the untouched model; empty: nowhere. */
  readonly #general: readonly GeneralBatch[];
  readonly #loader: Loader;
  readonly #schedule: Schedule;
  readonly #identity: string;
  readonly #routing = new RoutingTotals();
  #boundary: Boundary;
  #savedStep = -1;
  #isPlacementTold = false;

  constructor(
    run: TrainingRun,
    model: LoadedModel,
    data: PreparedData,
    padId: number,
    tokenizerHash: string,
    general: readonly GeneralBatch[],
  ) {
    this.#run = run;
    this.#model = model;
    this.#data = data;
    this.#padId = padId;
    this.#tokenizerHash = tokenizerHash;
    this.#general = general;
    const { train: settings } = run.spec;
    this.#loader = this.#createLoader(data.train, true);
    const microBatches = this.#loader.microBatchesPerEpoch;
    const totalSteps =
      settings.steps ??
      Math.max(1, Math.ceil(((settings.epochs ?? 1) * microBatches) / settings.gradientAccumulation));
    this.#schedule = {
      shape: settings.schedule,
      peak: settings.learningRate,
      totalSteps,
      warmupSteps: warmupSteps(settings.warmupRatio, totalSteps),
      minRatio: settings.minLearningRateRatio,
    };
    this.#identity = runIdentity(run.spec, data, tokenizerHash, general.length > 0);
    this.#boundary = { step: 0, loader: this.#loader.state, method: model.session.save() };
  }

  #createLoader(rows: Dataset, shuffle: boolean): Loader {
    return createLoader(rows, loaderOptions(this.#run.spec, this.#padId, shuffle));
  }

  async run(choice: ChosenProvider): Promise<TrainingOutcome> {
    const { observer } = this.#run;
    const { totalSteps } = this.#schedule;
    const resumed = this.#run.resume ? this.#restore() : null;
    observer.prepared(
      {
        ...(await runFacts(this.#run.spec, this.#model, this.#data, this.#tokenizerHash, totalSteps)),
        ...(choice.adapter !== undefined && { adapter: choice.adapter }),
      },
      resumed?.step ?? null,
    );
    const measures = [
      choice.reason,
      ...memoryMeasures(this.#run.spec, this.#model),
      ...routingMeasures(this.#general),
    ];
    for (const measure of measures) observer.event('log', resumed?.step ?? 0, measure);
    for (const warning of resumed?.warnings ?? []) observer.event('alert', resumed?.step ?? 0, warning);
    if (resumed === null) await this.#evaluate(0);
    while (this.#boundary.step < totalSteps) {
      const command = await this.#step();
      if (command === 'stop') return this.#end('stopped', true);
      if (command === 'discard') return this.#end('stopped', false);
    }
    return this.#end('completed', true);
  }

  #restore() {
    const restored = restoreTrainer(this.#run.runDir, this.#model.store, this.#model.session, this.#identity);
    this.#loader.restore(restored.loader);
    this.#boundary = { step: restored.step, loader: this.#loader.state, method: this.#model.session.save() };
    this.#savedStep = restored.step;
    return restored;
  }

  /** One optimizer step. A command to stop ends it early; then nothing of it counts. */
  async #step(): Promise<TrainingCommand> {
    const { observer, control, spec } = this.#run;
    const { session, store, optimizer, executor, runtime } = this.#model;
    const { device } = runtime;
    const { step } = this.#boundary;
    const { totalSteps } = this.#schedule;
    const started = performance.now();
    const microBatches = spec.train.gradientAccumulation;
    const batches = Array.from({ length: microBatches }, () => this.#loader.next());
    const lossTokens = batches.reduce((sum, batch) => sum + lossTargets(batch).at.length, 0);
    let waitedMs = 0;
    let lossSum = 0;
    let auxLoss = 0;
    let checkpointWanted = false;
    session.beforeStep?.({ step, totalSteps });
    const hasLosses = session.losses.length > 0 || Boolean(session.distillation);
    for (const [microBatch, batch] of batches.entries()) {
      observer.progress('training', step, microBatch);
      const asked = performance.now();
      const command = await control.next();
      waitedMs += performance.now() - asked;
      if (command === 'stop' || command === 'discard') return command;
      checkpointWanted ||= command === 'checkpoint';
      const result = await executor.train(batch, Math.max(1, lossTokens), microBatches, {
        step,
        microBatch,
      });
      await checkFinite(this.#run, `loss of step ${step + 1}`, result.lossSum, batch, step);
      lossSum += result.lossSum;
      auxLoss += result.auxiliary.reduce((sum, { weighted }) => sum + weighted, 0);
      session.afterMicroBatch(result.usage, { step, totalSteps, microBatch, microBatches });
      this.#routing.add(result.usage);
      // Lets commands and signals in.
      await new Promise(setImmediate);
    }
    const general = this.#general[step % this.#general.length];
    if (general !== undefined) {
      const place = { step, microBatch: microBatches };
      const losses = await executor.trainGeneral(general.batch, general.base_L, place);
      auxLoss += losses.reduce((sum, { weighted }) => sum + weighted, 0);
    }
    const squares = optimizer.gradientSquares();
    const gradNorm = gradientNorm(squares);
    await checkFinite(this.#run, `gradient norm of step ${step + 1}`, gradNorm, batches[0], step);
    const gradNorm_LE = expertGradientNorms(this.#model.plan, store.parameters, squares);
    const rate = learningRate(this.#schedule, step);
    const { optimizer: settings, maxGradNorm } = spec.train;
    optimizer.step({ ...settings, maxGradNorm }, step + 1, rate, gradNorm, session.frozen);
    const at = { step, totalSteps, microBatch: microBatches - 1, microBatches };
    const messages = finishStep(this.#model, at);

    const done = step + 1;
    const tokens = batches.reduce((sum, batch) => sum + batch.tokens, 0);
    const seconds = (performance.now() - started - waitedMs) / 1000;
    this.#boundary = { step: done, loader: this.#loader.state, method: session.save() };
    observer.step(
      {
        step: done,
        wallMs: Date.now(),
        loss: lossSum / Math.max(1, lossTokens),
        learningRate: rate,
        gradNorm,
        tokens,
        trainedTokens: lossTokens,
        tokensPerSecond: tokens / seconds,
        rssMB: process.memoryUsage.rss() / 1e6,
        ...(device !== null && { deviceMB: device.takePeakBytes() / 1e6 }),
        ...(hasLosses && { auxLoss }),
      },
      this.#routing.take(done, session.routerState(), gradNorm_LE),
    );
    for (const message of messages) observer.event('phase', done, message);
    this.#tellPlacement();
    const { everySteps } = spec.evaluate;
    if (done === totalSteps || (everySteps !== null && done % everySteps === 0)) await this.#evaluate(done);
    if (checkpointWanted || (done % spec.checkpoint.everySteps === 0 && done < totalSteps))
      this.#checkpoint();
    return 'continue';
  }

  /** Tells once where the operators run that were needed so far. */
  #tellPlacement(): void {
    const { runtime } = this.#model;
    if (this.#isPlacementTold || runtime.device === null) return;
    this.#isPlacementTold = true;
    const placement = summarizePlacement(runtime.endPlacement());
    const { observer } = this.#run;
    observer.placed(placement);
    if (placement.leftToCpu.length === 0) return;
    observer.event(
      'alert',
      this.#boundary.step,
      `The graphics adapter leaves operators to the CPU: ${nameOperators(placement.leftToCpu)}.`,
    );
  }

  /** Losses on the validation split, if there is one, and on the general data. */
  async #evaluate(step: number): Promise<void> {
    const { validation, general } = this.#data;
    if (validation === null) return;
    this.#run.observer.evaluation({
      step,
      ...(await this.#lossOn(validation, step)),
      ...(general && { general: await this.#lossOn(general, step) }),
    });
  }

  /** Mean cross-entropy over the trained tokens of `rows`. */
  async #lossOn(rows: Dataset, step: number): Promise<Omit<Evaluation, 'step' | 'general'>> {
    let lossSum = 0;
    let trainedTokens = 0;
    for (const batch of this.#createLoader(rows, false).pass()) {
      this.#run.observer.progress('evaluating', step, 0);
      const result = await this.#model.executor.evaluate(batch);
      await checkFinite(this.#run, `loss of the evaluation at step ${step}`, result.lossSum, batch, step);
      lossSum += result.lossSum;
      trainedTokens += result.trainedTokens;
      await new Promise(setImmediate);
    }
    return { loss: lossSum / trainedTokens, trainedTokens };
  }

  #checkpoint(): void {
    const { observer, runDir, spec } = this.#run;
    const { step } = this.#boundary;
    if (this.#savedStep === step) return;
    observer.progress('checkpointing', step, 0);
    const saved = saveTrainer(
      runDir,
      this.#boundary,
      this.#model.store,
      this.#model.session,
      this.#identity,
      spec.checkpoint.keep,
    );
    this.#savedStep = step;
    writeRouterFiles(runDir, this.#model, methodLabel(spec.method));
    observer.checkpoint(saved);
    for (const reason of saved.undeleted)
      observer.event('alert', step, `An old checkpoint could not be deleted: ${reason}`);
  }

  #end(state: TrainingOutcome['state'], keep: boolean): TrainingOutcome {
    const { step } = this.#boundary;
    // What a step in progress did to the method's buffers does not count.
    this.#model.session.restore(this.#boundary.method);
    if (keep) this.#checkpoint();
    this.#run.observer.progress('ending', step, 0);
    return { state, step };
  }
}
