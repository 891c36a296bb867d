/** Full fine-tuning before a run, by whose gradients sub-matrices are chosen (SMT). */
import { UserError, invariant } from '#core/contract/errors.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { gradientNorm, lossTargets, type AdamWSettings, type MicroBatch } from '#worker/engine/index.ts';
import { warmUpOf } from '#worker/methods/index.ts';
import {
  elementCount,
  hasGradient,
  parametersOf,
  type DecoderPlan,
  type SubmatrixPlan,
  type SubmatrixScore,
  type SubmatrixScores,
  type WarmUp,
} from '#worker/model/index.ts';
import { memoryBudgetMB, planMemory, type MemoryPlan, type ModelLayout } from '#worker/plan/index.ts';
import { loadModel, type LoadedModel } from './load-model.ts';
import { openTrainedWeights } from './trainer-state.ts';
import type { TrainingRun } from './training-run.ts';

/** Scores of the sub-matrices of a matrix `[rows, width]`, row by row of sub-matrices. */
export function scoreSubmatrices(
  matrix: Float32Array,
  width: number,
  size: number,
  score: SubmatrixScore,
): Float32Array {
  const columns = width / size;
  const scores = new Float64Array(matrix.length / size ** 2);
  const term = { absOfMean: (x: number) => x, meanOfAbs: Math.abs, l2: (x: number) => x * x }[score];
  matrix.forEach((value, at) => {
    const [row, column] = [Math.floor(at / width), at % width];
    const index = Math.floor(row / size) * columns + Math.floor(column / size);
    scores[index] = (scores[index] ?? 0) + term(value);
  });
  return Float32Array.from(scores, (sum) => (score === 'l2' ? Math.sqrt(sum) : Math.abs(sum) / size ** 2));
}

/** What a warm-up trains with. */
export interface WarmUpTraining {
  readonly optimizer: AdamWSettings;
  readonly learningRate: (step: number) => number;
  /** Micro-batches of each step. */
  readonly microBatches: number;
  readonly next: () => MicroBatch;
  /** Asked before each micro-batch; false ends the warm-up. */
  readonly goOn: () => Promise<boolean>;
}

/**
 * Trains `model` for the steps of the warm-up and scores its sub-matrices by the sum of the steps' gradients, before clipping.
 * @returns null when it was told to end.
 * @throws UserError `train/non-finite`.
 */
export async function measureSubmatrices(
  { store, executor, optimizer }: LoadedModel,
  warmUp: WarmUp,
  training: WarmUpTraining,
): Promise<SubmatrixScores | null> {
  const scored = store.parameters.flatMap((parameter) => {
    const score = warmUp.scoreOf(parameter);
    return score === null ? [] : [{ parameter, score, sum: new Float32Array(elementCount(parameter.shape)) }];
  });
  for (let step = 0; step < warmUp.steps; step++) {
    const batches = Array.from({ length: training.microBatches }, training.next);
    const lossTokens = batches.reduce((sum, batch) => sum + lossTargets(batch).at.length, 0);
    for (const batch of batches) {
      if (!(await training.goOn())) return null;
      await executor.train(batch, Math.max(1, lossTokens), training.microBatches);
      // Lets commands and signals in.
      await new Promise(setImmediate);
    }
    const norm = gradientNorm(optimizer.gradientSquares());
    if (!Number.isFinite(norm)) {
      throw new UserError(
        'train/non-finite',
        `the gradient norm of warm-up step ${step + 1} is ${norm}`,
        'Give a lower method.options.warmUpLearningRate.',
      );
    }
    for (const { parameter, sum } of scored) {
      const { data } = store.gradient(parameter.id);
      invariant(data instanceof Float32Array, 'gradients are float32');
      for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (data[i] as number);
    }
    optimizer.step(training.optimizer, step + 1, training.learningRate(step), norm);
  }
  return new Map(
    scored.map(({ parameter: { id, shape }, score, sum }) => [
      id,
      scoreSubmatrices(sum, shape[1] ?? 0, warmUp.size, score),
    ]),
  );
}

/** Plans the memory of a warm-up on a model whose checkpoint has `storedBytes`. */
function planWarmUp(
  warmUp: WarmUp,
  { plan, storedBytes }: Pick<ModelLayout, 'plan' | 'storedBytes'>,
  spec: RunSpec,
  budgetMB: number,
): MemoryPlan {
  const parameters = parametersOf(plan);
  const scored = parameters.filter((parameter) => warmUp.scoreOf(parameter) !== null);
  const sumsMB = (4 * scored.reduce((sum, { shape }) => sum + elementCount(shape), 0)) / 1e6;
  const layout = { plan, parameters, isTrained: hasGradient, storedBytes };
  const memory = planMemory(layout, spec, budgetMB - sumsMB);
  return {
    ...memory,
    totalMB: memory.totalMB + sumsMB,
    parts: { ...memory.parts, 'sums of gradients': sumsMB },
  };
}

/** Plans the memory of a run: of its warm-up, if it has one that needs more than the run. */
export function planWithWarmUp(layout: ModelLayout, spec: RunSpec, budgetMB: number): MemoryPlan {
  const memory = planMemory(layout, spec, budgetMB);
  const warmUp = warmUpOf(spec.method.name, spec.method.options, layout.plan);
  if (warmUp === null) return memory;
  const first = planWarmUp(warmUp, layout, spec, budgetMB);
  return first.totalMB > memory.totalMB ? first : memory;
}

/** What a plan goes by before a warm-up: as many sub-matrices as there will be, anywhere. */
export function anySubmatrices(
  method: { readonly name: string; readonly options: Readonly<Record<string, unknown>> },
  plan: DecoderPlan,
): SubmatrixPlan | null {
  const warmUp = warmUpOf(method.name, method.options, plan);
  if (warmUp === null) return null;
  const scored = parametersOf(plan).filter((parameter) => warmUp.scoreOf(parameter) !== null);
  const count = (shape: readonly number[]) => elementCount(shape) / warmUp.size ** 2;
  return warmUp.choose(new Map(scored.map(({ id, shape }) => [id, new Float32Array(count(shape))])));
}

/**
 * The sub-matrices that the method of `run` trains; null when it trains none. A resumed run has those of its checkpoint.
 * @param next gives the micro-batches of the run, from its first.
 * @returns `stopped` when the run was told to stop meanwhile.
 */
export async function submatricesOf(
  run: TrainingRun,
  plan: DecoderPlan,
  next: () => MicroBatch,
): Promise<SubmatrixPlan | null | 'stopped'> {
  const { spec, observer, control } = run;
  const warmUp = warmUpOf(spec.method.name, spec.method.options, plan);
  if (warmUp === null) return null;
  if (run.resume) return submatricesOfCheckpoint(run.runDir);
  const { gradientAccumulation, learningRate, optimizer, maxGradNorm } = spec.train;
  const model = await loadModel({
    modelDir: spec.model.path,
    method: { name: 'full', options: {} },
    threads: spec.engine.threads,
    moments: optimizer.moments,
    planMemory: (layout) => planWarmUp(warmUp, layout, spec, memoryBudgetMB(spec)),
  });
  try {
    observer.event('phase', 0, `Warm-up: ${warmUp.steps} steps of full fine-tuning choose the sub-matrices.`);
    const scores = await measureSubmatrices(model, warmUp, {
      optimizer: { ...optimizer, maxGradNorm },
      learningRate: () => warmUp.learningRate ?? learningRate,
      microBatches: gradientAccumulation,
      next,
      goOn: async () => {
        observer.progress('preparing', 0, 0);
        const command = await control.next();
        return command !== 'stop' && command !== 'discard';
      },
    });
    return scores === null ? 'stopped' : warmUp.choose(scores);
  } finally {
    model.close();
  }
}

/** The sub-matrices that a run's newest checkpoint trains; null where it trains none. */
function submatricesOfCheckpoint(runDir: string): SubmatrixPlan | null {
  const weights = openTrainedWeights(runDir);
  weights.close();
  return weights.adapters?.kind === 'submatrices' ? weights.adapters : null;
}
