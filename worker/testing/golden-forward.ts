/** Golden cases of kind `forward-backward`: logits, routing, loss and every gradient of one batch. */
import { join } from 'node:path';
import { z } from 'zod';
import { gradientNorm, lossTargets, type LayerRoutingView } from '#worker/engine/index.ts';
import {
  elementCount,
  hasGradient,
  isAdded,
  moeLayerIndices,
  routerShapes,
  shapeOf,
  type Parameter,
} from '#worker/model/index.ts';
import { loadModel, type LoadedModel } from '#worker/train/index.ts';
import { goldenBatch } from './golden-batch.ts';
import {
  GoldenTensors,
  absoluteCheck,
  relativeCheck,
  type CaseDocument,
  type Computing,
  type Check,
} from './golden-case.ts';
import { goldenMethod, restoreGoldenRouter } from './golden-method.ts';
import {
  addedParameterId,
  parametersByPublishedName,
  publishedTensor,
  restoreAdded,
} from './golden-names.ts';

const Limits = z.object({ atol: z.number().optional(), rtol: z.number().optional() });

/** Tolerances in both spellings: of the family cases and of the method cases. */
const ForwardCase = z.object({
  expected: z.object({
    loss: z.number(),
    grad_norm: z.number().optional(),
    aux_loss: z.number().nullish(),
    total_loss: z.number().optional(),
    router_aux_loss_coef: z.number().nullish(),
  }),
  tolerances: z.object({
    loss: Limits.optional(),
    logits: Limits.optional(),
    router_logits: Limits.optional(),
    topk_weights: Limits.optional(),
    grad: z.object({ atol_over_tensor_max: z.number(), atol: z.number() }).optional(),
    grad_norm: Limits.optional(),
    aux_loss: Limits.optional(),
    logits_abs: z.number().optional(),
    grad_rel_to_max: z.number().optional(),
    loss_abs: z.number().optional(),
  }),
});

/** |Δ| against a bound that scales with the largest expected value of the tensor. */
function gradientCheck(
  name: string,
  got: ArrayLike<number>,
  want: Float32Array,
  relative: number,
  absolute: number,
): Check {
  const largest = want.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return absoluteCheck(name, got, want, relative * largest + absolute);
}

/** Runs a `forward-backward` case. @param made an empty folder to write to. */
export async function checkForwardCase(
  dir: string,
  document: CaseDocument,
  made: string,
  computing: Computing,
): Promise<Check[]> {
  const { expected, tolerances: limits } = ForwardCase.parse(document);
  const tensors = new GoldenTensors(join(dir, 'expected.safetensors'));
  const inputs = new GoldenTensors(join(dir, 'batch.safetensors'));
  const batch = goldenBatch(inputs);
  const method = await goldenMethod(dir, document, made);
  // Frozen weights are what may be float16: then gradients of vectors and routers flow through all matrices.
  const isFrozen = computing.deviceWeights === 'float16';
  const model = await loadModel({
    modelDir: join(dir, 'model'),
    method,
    ...computing,
    ...(isFrozen && {
      trains: (parameter) =>
        hasGradient(parameter) &&
        (parameter.shape.length === 1 || parameter.role === 'router' || isAdded(parameter)),
    }),
  });
  try {
    const moe = moeLayerIndices(model.plan);
    const shapes = routerShapes(model.plan);
    restoreGoldenRouter(model, moe, [inputs, tensors]);
    restoreAdded(model, inputs);
    const everywhere = Int32Array.from(batch.inputIds, (_, i) => i);
    const { logits, routing } = await model.executor.logits(batch, everywhere);
    const real = (width: number) => (index: number) => (batch.segments[Math.floor(index / width)] ?? 0) > 0;
    const checks = [
      absoluteCheck(
        'logits',
        logits,
        tensors.floats('logits'),
        limits.logits?.atol ?? limits.logits_abs ?? 0,
        real(model.plan.vocabularySize),
      ),
    ];
    routing.forEach((view, index) => {
      const layer = moe[index] ?? -1;
      const experts = view.logits_NE.length / batch.inputIds.length;
      if (tensors.has(`router_logits.${layer}`)) {
        checks.push(
          absoluteCheck(
            `router_logits.${layer}`,
            view.logits_NE,
            tensors.floats(`router_logits.${layer}`),
            limits.router_logits?.atol ?? limits.logits_abs ?? 0,
            real(experts),
          ),
        );
      }
      const want = tensors.get(`topk_ids.${layer}`);
      const width = want.shape[1] ?? 0;
      const chosen_NK = shapeOf(shapes, index).router.selectionBias
        ? byWeight(view, experts)
        : view.choice.chosen_NK;
      const ids = Int32Array.from({ length: want.values.length }, (_, i) => {
        const token = Math.floor(i / width);
        const slot = i % width;
        return slot < view.choice.k
          ? (chosen_NK[token * view.choice.k + slot] ?? -1)
          : (view.choice.always[slot - view.choice.k] ?? -1);
      });
      checks.push(absoluteCheck(`topk_ids.${layer}`, ids, want.values, 0, real(width)));
      const weights = Float32Array.from(ids, (expert, i) => {
        const token = Math.floor(i / width);
        const weight = view.weights_NE[token * experts + expert] ?? NaN;
        // Published code lists an expert that is chosen and condenser in two columns, each with its own weight.
        const twice = view.choice.overlap === 'double' && isDouble(ids, width, token, expert);
        return twice ? weight / 2 : weight;
      });
      checks.push(
        relativeCheck(
          `topk_weights.${layer}`,
          weights,
          tensors.floats(`topk_weights.${layer}`),
          limits.topk_weights?.rtol ?? 1e-4,
          real(width),
        ),
      );
    });

    const trainedTokens = lossTargets(batch).at.length;
    const result = await model.executor.train(batch, trainedTokens, 1);
    const loss = result.lossSum / trainedTokens;
    checks.push(
      limits.loss?.rtol === undefined
        ? absoluteCheck('loss', [loss], [expected.loss], limits.loss_abs ?? 0)
        : relativeCheck('loss', [loss], [expected.loss], limits.loss.rtol),
    );
    const norm = gradientNorm(model.optimizer.gradientSquares());
    if (expected.grad_norm !== undefined && !isFrozen) {
      checks.push(
        relativeCheck(
          'grad_norm',
          [norm],
          [expected.grad_norm],
          limits.grad_norm?.rtol ?? limits.grad_rel_to_max ?? 1e-4,
        ),
      );
    }
    const parameters = parametersByPublishedName(model.family, model.plan);
    const relative = limits.grad?.atol_over_tensor_max ?? limits.grad_rel_to_max ?? 0;
    for (const name of tensors.names) {
      if (!name.startsWith('grad.')) continue;
      const held = parameters.get(name.slice('grad.'.length)) ?? [];
      if (isFrozen && held.some(({ id }) => !model.store.isTrained(id))) continue;
      const { shape } = tensors.get(name);
      const added = addedParameterId(name.slice('grad.'.length));
      checks.push(
        gradientCheck(
          name,
          added === null
            ? publishedTensor(model.family, model.plan, held, shape, (parameter) =>
                gradientOf(model, parameter),
              )
            : (model.store.gradient(added).data as Float32Array),
          tensors.floats(name),
          relative,
          limits.grad?.atol ?? 1e-6,
        ),
      );
    }
    if (typeof expected.aux_loss === 'number') {
      checks.push(
        ...(await checkAuxiliary({ dir, computing }, tensors, batch, trainedTokens, expected, limits)),
      );
    }
    return checks;
  } finally {
    model.close();
  }
}

/** The gradient of a parameter; zeros where none reaches it. */
function gradientOf(model: LoadedModel, parameter: Parameter): Float32Array {
  return hasGradient(parameter)
    ? (model.store.gradient(parameter.id).data as Float32Array)
    : new Float32Array(elementCount(parameter.shape));
}

/** The experts of a token by falling weight: the order of a case where a bias takes part in the choice. */
function byWeight(view: LayerRoutingView, experts: number): Int32Array {
  const { chosen_NK, k } = view.choice;
  const tokens = chosen_NK.length / k;
  const sorted = Array.from({ length: tokens }, (_, token) => {
    const weightOf = (expert: number) => view.weights_NE[token * experts + expert] ?? NaN;
    return [...chosen_NK.subarray(token * k, (token + 1) * k)].sort((a, b) => weightOf(b) - weightOf(a));
  });
  return Int32Array.from(sorted.flat());
}

function isDouble(ids: Int32Array, width: number, token: number, expert: number): boolean {
  return ids.subarray(token * width, (token + 1) * width).filter((id) => id === expert).length > 1;
}

/** The load-balancing loss: its value, and its own gradient where the case has it. */
async function checkAuxiliary(
  { dir, computing }: { readonly dir: string; readonly computing: Computing },
  tensors: GoldenTensors,
  batch: ReturnType<typeof goldenBatch>,
  trainedTokens: number,
  expected: z.output<typeof ForwardCase>['expected'],
  limits: z.output<typeof ForwardCase>['tolerances'],
): Promise<Check[]> {
  const run = async (auxLossCoefficient: number) => {
    const model = await loadModel({
      modelDir: join(dir, 'model'),
      // The reference takes the softmax for every family.
      method: { name: 'full', options: { auxLossCoefficient, auxLossScores: 'softmax' } },
      ...computing,
    });
    const result = await model.executor.train(batch, trainedTokens, 1);
    model.store.completeGradients();
    return { model, result };
  };
  const coefficient = expected.router_aux_loss_coef ?? 1;
  // A published coefficient of zero would leave the loss out; its value does not depend on the coefficient.
  const { model, result } = await run(coefficient === 0 ? 1 : coefficient);
  const value = result.auxiliary[0]?.value ?? NaN;
  const checks = [relativeCheck('aux_loss', [value], [expected.aux_loss ?? NaN], limits.aux_loss?.rtol ?? 0)];
  if (expected.total_loss !== undefined) {
    const total = result.lossSum / trainedTokens + coefficient * value;
    checks.push(relativeCheck('total_loss', [total], [expected.total_loss], limits.loss?.rtol ?? 0));
  }
  const parameters = parametersByPublishedName(model.family, model.plan);
  const names = tensors.names.filter((name) => name.startsWith('grad_aux.'));
  model.close();
  if (names.length === 0) return checks;
  // The difference of two runs is the auxiliary gradient; a large coefficient keeps rounding small beside it.
  const large = 1000;
  const [plain, loud] = [await run(0), await run(large)];
  for (const [name, held] of parameters) {
    const shape = tensors.has(`grad.${name}`) ? tensors.get(`grad.${name}`).shape : [];
    const own = publishedTensor(model.family, model.plan, held, shape, (parameter) => {
      const quiet = gradientOf(plain.model, parameter);
      return gradientOf(loud.model, parameter).map((value_, i) => (value_ - (quiet[i] ?? 0)) / large);
    });
    const key = `grad_aux.${name}`;
    const want = tensors.has(key) ? tensors.floats(key) : new Float32Array(own.length);
    checks.push(
      gradientCheck(key, own, want, limits.grad?.atol_over_tensor_max ?? 0, limits.grad?.atol ?? 0),
    );
  }
  plain.model.close();
  loud.model.close();
  return checks;
}
