/** The end of an optimizer step: global norm, clipping, AdamW. */
import type { Kernels } from '#worker/kernels/index.ts';
import { moeLayerIndices, type DecoderPlan, type Parameter } from '#worker/model/index.ts';
import type { Runtime } from '#worker/runtime/index.ts';
import { DeviceOptimizer } from './device-optimizer.ts';
import type { ParameterStore } from '../weights/parameter-store.ts';
import type { OptimizerRange } from '../weights/trained-memory.ts';

/** Constants of AdamW (Loshchilov & Hutter 2019) and of clipping. */
export interface AdamWSettings {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Decoupled; applied to matrices only. */
  readonly weightDecay: number;
  /** Gradients are scaled by `min(1, maxGradNorm / (norm + 10⁻⁶))`; null: not at all. */
  readonly maxGradNorm: number | null;
}

/** Sum of the squares of each trained parameter's gradient, by its id. */
export type GradientSquares = ReadonlyMap<string, number>;

/** Ends the steps of one model, wherever its parameters train. */
export interface Optimizer {
  /** Squares of all gradients. Call once all micro-batches of a step are in; what was never written counts as zero. */
  gradientSquares(): GradientSquares;
  /**
   * One AdamW step over all trained parameters. The caller has made sure that `norm` is finite.
   * @param step counts from 1.
   * @param frozen ids of parameters that stay as they are, moments included; absent: none.
   */
  step(
    settings: AdamWSettings,
    step: number,
    learningRate: number,
    norm: number,
    frozen?: ReadonlySet<string>,
  ): void;
}

/** The optimizer of what trains in `store`, with its programs compiled. */
export async function createOptimizer(
  store: ParameterStore,
  kernels: Kernels,
  runtime: Runtime,
): Promise<Optimizer> {
  const onDevice = await DeviceOptimizer.create(store, runtime);
  return {
    gradientSquares() {
      store.completeGradients();
      const squares = hostSquares(store, kernels);
      for (const [id, square] of onDevice?.squares() ?? []) squares.set(id, square);
      return squares;
    },
    step(settings, step, learningRate, norm, frozen = new Set()) {
      const clip = settings.maxGradNorm === null ? 1 : Math.min(1, settings.maxGradNorm / (norm + 1e-6));
      const [beta1, beta2] = settings.betas;
      hostStep(store, settings, step, learningRate, clip, frozen);
      onDevice?.step(frozen, {
        clip,
        decay: 1 - learningRate * settings.weightDecay,
        beta1,
        beta2,
        rate: learningRate / (1 - beta1 ** step),
        root: Math.sqrt(1 - beta2 ** step),
        eps: settings.epsilon,
      });
      store.publishWeights();
      store.clearGradients();
    },
  };
}

function hostSquares(store: ParameterStore, kernels: Kernels): Map<string, number> {
  const squares = new Map<string, number>();
  for (const { id } of store.parameters) {
    if (!store.isTrained(id) || store.device?.moves(id) === true) continue;
    // Gradients lie in the arena, so that a view says where.
    const { data } = store.gradient(id);
    squares.set(id, kernels.sumOfSquares(data.byteOffset, data.length));
  }
  return squares;
}

/** Norm of the whole gradient. */
export function gradientNorm(squares: GradientSquares): number {
  let sum = 0;
  for (const square of squares.values()) sum += square;
  return Math.sqrt(sum);
}

/**
 * Norm of the gradient of each expert, `[MoE layers × experts]`: of all of it that trains, adapters included; NaN where
 * nothing does.
 */
export function expertGradientNorms(
  plan: DecoderPlan,
  parameters: readonly Parameter[],
  squares: GradientSquares,
): Float32Array {
  const moe = moeLayerIndices(plan);
  const moeIndex = new Map(moe.map((layer, index) => [layer, index]));
  const first = plan.layers[moe[0] ?? -1]?.feedForward;
  const experts = first?.kind === 'moe' ? first.experts : 0;
  const squares_LE = new Float64Array(moe.length * experts).fill(NaN);
  for (const { id, layer, expert } of parameters) {
    const square = squares.get(id);
    if (layer === null || expert === null || square === undefined) continue;
    const at = (moeIndex.get(layer) ?? 0) * experts + expert;
    const before = squares_LE[at] as number;
    squares_LE[at] = (Number.isNaN(before) ? 0 : before) + square;
  }
  return Float32Array.from(squares_LE, Math.sqrt);
}

function hostStep(
  store: ParameterStore,
  settings: AdamWSettings,
  step: number,
  learningRate: number,
  gradScale: number,
  frozen: ReadonlySet<string>,
): void {
  const { weights, gradients, moments, ranges } = store.trained;
  const { device } = store;
  const own = device === null && frozen.size === 0 ? ranges : rangesLeft(store, frozen);
  for (const { start, count, decays } of own) {
    moments.adamw(weights, gradients, start, count, {
      lr: learningRate,
      beta1: settings.betas[0],
      beta2: settings.betas[1],
      eps: settings.epsilon,
      weightDecay: decays ? settings.weightDecay : 0,
      step,
      gradScale,
    });
  }
}

/** What is not frozen and the graphics adapter, if there is one, leaves to the host; declares its weights changed. */
function rangesLeft({ trained, device }: ParameterStore, frozen: ReadonlySet<string>): OptimizerRange[] {
  return [...trained.ids].flatMap((id) => {
    if (frozen.has(id) || device?.moves(id) === true) return [];
    device?.beginRewrite(id);
    return [trained.rangeOf(id)];
  });
}
