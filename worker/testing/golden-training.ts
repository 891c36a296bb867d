/** Golden cases of kind `training`: a whole trajectory of optimizer steps, compared at its end. */
import { join } from 'node:path';
import { z } from 'zod';
import { gradientNorm, lossTargets, type AdamWSettings } from '#worker/engine/index.ts';
import { moeLayerIndices, type NoisePlace } from '#worker/model/index.ts';
import { finishStep, loadModel, type LoadedModel } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import {
  GoldenTensors,
  absoluteCheck,
  equalCheck,
  limited,
  relativeCheck,
  type CaseDocument,
  type Computing,
  type Check,
} from './golden-case.ts';
import { defaultOutputsOf, goldenMethod, restoreGoldenRouter } from './golden-method.ts';
import { finalValues, restoreAdded } from './golden-names.ts';
import { checkWarmUp } from './golden-submatrices.ts';

const TrainingCase = z.object({
  steps: z.int(),
  gradient_accumulation: z.int(),
  optimizer: z.object({
    lr: z.array(z.number()),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weight_decay: z.number(),
    max_grad_norm: z.number(),
  }),
  tolerances: z.object({
    loss_abs: z.number(),
    grad_norm_rel: z.number(),
    final_max_abs: z.number(),
    final_mean_abs: z.number(),
    bias_abs: z.number().optional(),
    noise_probe: z.object({ buffers_max_abs: z.number().optional() }),
  }),
  expected: z.object({
    steps: z.array(
      z.object({
        loss: z.number(),
        grad_norm: z.number(),
        aux_loss_per_micro: z.array(z.number()).optional(),
        z_loss_per_micro: z.array(z.number()).optional(),
        mi_loss_per_micro: z.array(z.number()).optional(),
      }),
    ),
  }),
});
type TrainingCase = z.output<typeof TrainingCase>;

interface Trajectory {
  readonly losses: number[];
  readonly norms: number[];
  readonly auxiliary: number[];
  /** Router bias after each step, `[steps][layers × experts]`. */
  readonly bias: Float32Array[];
  /** Default outputs after each step, `[steps][layers][experts × hidden]`. */
  readonly defaults: Float32Array[][];
}

function optimizerOf({ optimizer }: TrainingCase): AdamWSettings {
  return {
    betas: optimizer.betas,
    epsilon: optimizer.eps,
    weightDecay: optimizer.weight_decay,
    maxGradNorm: optimizer.max_grad_norm,
  };
}

async function train(model: LoadedModel, document: TrainingCase, inputs: GoldenTensors): Promise<Trajectory> {
  const { gradient_accumulation: microBatches, optimizer } = document;
  const settings = optimizerOf(document);
  const trajectory: Trajectory = { losses: [], norms: [], auxiliary: [], bias: [], defaults: [] };
  for (let step = 0; step < document.steps; step++) {
    const batches = Array.from({ length: microBatches }, (_, micro) =>
      goldenBatch(inputs, `step${step}.micro${micro}.`),
    );
    model.session.beforeStep?.({ step, totalSteps: document.steps });
    const lossTokens = batches.reduce((sum, batch) => sum + lossTargets(batch).at.length, 0);
    let lossSum = 0;
    for (const [microBatch, batch] of batches.entries()) {
      const result = await model.executor.train(batch, lossTokens, microBatches);
      lossSum += result.lossSum;
      // DeepSeek's code states its loss with the coefficient, the others without.
      trajectory.auxiliary.push(
        ...result.auxiliary.map(({ name, value, weighted }) =>
          name === 'sequence balancing' ? weighted : value,
        ),
      );
      model.session.afterMicroBatch(result.usage, {
        step,
        totalSteps: document.steps,
        microBatch,
        microBatches,
      });
    }
    const norm = gradientNorm(model.optimizer.gradientSquares());
    model.optimizer.step(settings, step + 1, optimizer.lr[step] ?? 0, norm);
    finishStep(model, { step, totalSteps: document.steps, microBatch: microBatches - 1, microBatches });
    trajectory.losses.push(lossSum / lossTokens);
    trajectory.norms.push(norm);
    trajectory.defaults.push(defaultOutputsOf(model));
    trajectory.bias.push(model.session.routerState().bias_LE ?? new Float32Array(0));
  }
  return trajectory;
}

/** Final weights, `final.<name>`: largest and mean absolute difference of each tensor. */
function finalChecks(model: LoadedModel, tensors: GoldenTensors, document: TrainingCase): Check[] {
  const valuesOf = finalValues(model);
  return tensors.names
    .filter((name) => name.startsWith('final.'))
    .flatMap((name) => {
      const { shape } = tensors.get(name);
      const want = tensors.floats(name);
      const got = valuesOf(name.slice('final.'.length), shape);
      const mean = want.reduce((sum, value, i) => sum + Math.abs((got[i] ?? NaN) - value), 0) / want.length;
      const size = want.reduce((sum, value) => sum + Math.abs(value), 0) / want.length;
      return [
        absoluteCheck(name, got, want, document.tolerances.final_max_abs),
        {
          name: `${name} (mean)`,
          maxAbs: mean,
          maxRel: mean / size,
          ...limited(mean, document.tolerances.final_mean_abs, size),
        },
      ];
    });
}

function routerChecks(
  model: LoadedModel,
  tensors: GoldenTensors,
  bias: readonly Float32Array[],
  moe: readonly number[],
): Check[] {
  return moe.flatMap((layer, index) => {
    const checks: Check[] = [];
    if (tensors.has(`bias.${layer}`)) {
      const want = tensors.get(`bias.${layer}`);
      const experts = want.shape[1] ?? 0;
      const got = bias.flatMap((step_LE) =>
        Array.from(step_LE.subarray(index * experts, (index + 1) * experts)),
      );
      checks.push(equalCheck(`bias.${layer}`, got, want.values));
    }
    if (tensors.has(`condensers.${layer}`)) {
      const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b);
      checks.push(
        equalCheck(
          `condensers.${layer}`,
          sorted(model.session.routerState().condensers?.[index] ?? []),
          sorted(tensors.integers(`condensers.${layer}`)),
        ),
      );
    }
    return checks;
  });
}

/** Default outputs after each step, `ema.<layer>` [steps, experts, hidden]; tolerance is ten times the noise, as elsewhere. */
function defaultChecks(
  tensors: GoldenTensors,
  defaults: readonly Float32Array[][],
  moe: readonly number[],
  { tolerances }: TrainingCase,
): Check[] {
  return moe
    .map((layer, index) => ({ name: `ema.${layer}`, index }))
    .filter(({ name }) => tensors.has(name))
    .map(({ name, index }) =>
      absoluteCheck(
        name,
        defaults.flatMap((step) => [...(step[index] ?? [])]),
        tensors.floats(name),
        10 * (tolerances.noise_probe.buffers_max_abs ?? 0),
      ),
    );
}

/** Runs a `training` case. @param made an empty folder to write to. */
export async function checkTrainingCase(
  dir: string,
  raw: CaseDocument,
  made: string,
  computing: Computing,
): Promise<Check[]> {
  const method = await goldenMethod(dir, raw, made);
  const document = TrainingCase.parse(raw);
  const tensors = new GoldenTensors(join(dir, 'expected.safetensors'));
  const inputs = new GoldenTensors(join(dir, 'batch.safetensors'));
  const warmUp =
    method.name === 'smt' ? await checkWarmUp(dir, raw, method.options, optimizerOf(document)) : null;
  const submatrices = warmUp?.submatrices ?? null;
  const gumbel = ({ step, microBatch, layer }: NoisePlace) =>
    inputs.floats(`step${step}.micro${microBatch}.gumbel.${layer}`);
  const model = await loadModel({ modelDir: join(dir, 'model'), method, submatrices, gumbel, ...computing });
  try {
    const moe = moeLayerIndices(model.plan);
    restoreGoldenRouter(model, moe, [inputs, tensors]);
    restoreAdded(model, inputs, 'init.');
    const { losses, norms, auxiliary, bias, defaults } = await train(model, document, inputs);
    const { expected, tolerances } = document;
    const checks = [
      ...(warmUp?.checks ?? []),
      absoluteCheck(
        'loss',
        losses,
        expected.steps.map((step) => step.loss),
        tolerances.loss_abs,
      ),
      relativeCheck(
        'grad_norm',
        norms,
        expected.steps.map((step) => step.grad_norm),
        tolerances.grad_norm_rel,
      ),
      ...finalChecks(model, tensors, document),
      ...routerChecks(model, tensors, bias, moe),
      ...defaultChecks(tensors, defaults, moe, document),
    ];
    const wantAuxiliary = expected.steps.flatMap(
      (step) => step.aux_loss_per_micro ?? step.z_loss_per_micro ?? step.mi_loss_per_micro ?? [],
    );
    if (wantAuxiliary.length > 0)
      checks.push(relativeCheck('auxiliary loss', auxiliary, wantAuxiliary, 1e-4));
    if (tensors.has('final_logits')) {
      const batch = goldenBatch(inputs, 'step0.micro0.');
      const { logits } = await model.executor.logits(
        batch,
        Int32Array.from(batch.inputIds, (_, i) => i),
      );
      const vocabulary = model.plan.vocabularySize;
      // Logits amplify a weight difference; the largest expected value sets their scale.
      const want = tensors.floats('final_logits');
      const largest = want.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      checks.push(
        absoluteCheck(
          'final_logits',
          logits,
          want,
          tolerances.final_max_abs * Math.max(1, largest) * 4,
          (i) => (batch.segments[Math.floor(i / vocabulary)] ?? 0) > 0,
        ),
      );
    }
    return checks;
  } finally {
    model.close();
  }
}
