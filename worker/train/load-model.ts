/** A checkpoint folder made ready to run: family, plan, method, weights, executor. */
import type { DeviceWeights, FrozenExperts, MomentFormat } from '#core/contract/run-spec.ts';
import { openModelFolder } from '#worker/checkpoint/index.ts';
import { Executor, ParameterStore, createOptimizer, type Optimizer } from '#worker/engine/index.ts';
import { Arena, createKernels, type Kernels } from '#worker/kernels/index.ts';
import { startMethod } from '#worker/methods/index.ts';
import {
  parametersUnder,
  trains,
  withAdditions,
  type DecoderPlan,
  type ExpertScores,
  type Family,
  type MethodContext,
  type MethodSession,
  type Parameter,
  type SubmatrixPlan,
} from '#worker/model/index.ts';
import {
  RESIDENT,
  placeUnder,
  type DevicePlan,
  halvesUnder,
  type MemoryPlan,
  roundedUnder,
  type ModelLayout,
} from '#worker/plan/index.ts';
import {
  createRuntime,
  hasExactInt8Products,
  type ProviderName,
  type Runtime,
} from '#worker/runtime/index.ts';
import { decoderOf } from './decoder-of.ts';
import { methodContext } from './method-context.ts';

/** A model in memory under one method. */
export interface LoadedModel {
  readonly family: Family;
  /** With what the method adds. */
  readonly plan: DecoderPlan;
  readonly session: MethodSession;
  readonly store: ParameterStore;
  readonly executor: Executor;
  readonly optimizer: Optimizer;
  readonly kernels: Kernels;
  /** Where weights and activations lie. */
  readonly arena: Arena;
  readonly runtime: Runtime;
  /** What `LoadRequest.planMemory` said; null: it was not asked. */
  readonly memory: MemoryPlan | null;
  /** What `LoadRequest.planDevice` said; null: it was not asked. */
  readonly devicePlan: DevicePlan | null;
  /** Gives compiled programs back and closes the folder; weights go with the last reference. */
  close(): void;
}

/** What to load and how to train it. */
export interface LoadRequest {
  readonly modelDir: string;
  readonly method: { readonly name: string; readonly options: Readonly<Record<string, unknown>> };
  /** Scores for a method that chooses experts by them. */
  readonly expertScores?: ExpertScores | null;
  /** Sub-matrices for a method that trains some. */
  readonly submatrices?: SubmatrixPlan | null;
  /** Seed of the run; 0 when absent. */
  readonly seed?: number;
  /** How often each token occurs in the training data; absent: there are none at hand. */
  readonly tokenCounts?: MethodContext['tokenCounts'];
  /** Noise in place of that of the seed, to repeat what another program computed. */
  readonly gumbel?: MethodContext['gumbel'];
  /** What trains in place of what the method says. False: nothing, as for generation. */
  readonly trains?: false | ((parameter: Parameter) => boolean);
  /** See `LoadParts.holdsEmbedding`. */
  readonly holdsEmbedding?: boolean;
  readonly threads?: number | 'auto';
  /** How AdamW keeps its moments; float32 when absent. */
  readonly moments?: MomentFormat;
  /** How frozen experts are held and multiplied by programs on the CPU; as stored when absent. */
  readonly frozenExperts?: FrozenExperts;
  /** What computes; the CPU when absent. */
  readonly provider?: ProviderName;
  /** How frozen weights lie on a graphics adapter; `auto` when absent. */
  readonly deviceWeights?: DeviceWeights;
  /** Records which operators run on a graphics adapter, until `runtime.endPlacement` tells. */
  readonly recordPlacement?: boolean;
  /** Says which layers keep their activations for the backward pass; absent: all do. */
  readonly planMemory?: (layout: ModelLayout) => MemoryPlan;
  /**
   * Says what lies on the graphics adapter that the model runs on, given how many layers have experts on disk; absent: all that can.
   */
  readonly planDevice?: (layout: ModelLayout, diskLayers: number) => DevicePlan;
  /** A model of the same folder that is given up: it is closed, and the weights it holds are not read again. */
  readonly from?: LoadedModel | null;
  /** What to run on, for instance a timed one; a new runtime when absent. */
  readonly runtime?: Runtime;
}

/**
 * Reads a checkpoint folder into memory.
 * @throws UserError for everything wrong with folder, config, weights or options.
 */
export async function loadModel(request: LoadRequest): Promise<LoadedModel> {
  const { from } = request;
  from?.close();
  const folder = await openModelFolder(request.modelDir);
  try {
    const { family, plan: stored } = decoderOf(folder);
    const context = {
      ...methodContext(family, stored, {
        expertScores: request.expertScores ?? null,
        submatrices: request.submatrices ?? null,
        seed: request.seed ?? 0,
        ...(request.tokenCounts && { tokenCounts: request.tokenCounts }),
      }),
      ...(request.gumbel && { gumbel: request.gumbel }),
    };
    const session = startMethod(request.method.name, request.method.options, context);
    const arena = from?.arena ?? new Arena();
    const parameters = parametersUnder(stored, session);
    const plan = withAdditions(stored, session.additions ?? {});
    const { trains: trainsInstead = (parameter: Parameter) => trains(session, parameter) } = request;
    const isTrained = (parameter: Parameter) => trainsInstead !== false && trainsInstead(parameter);
    const { threads, provider = 'cpu' } = request;
    const { moments = 'float32', frozenExperts = 'stored' } = request;
    const runtime =
      request.runtime ??
      createRuntime({
        provider,
        recordPlacement: request.recordPlacement === true && provider !== 'cpu',
        ...(typeof threads === 'number' && { threads }),
      });
    const isRounded = roundedUnder(runtime.device === null ? frozenExperts : 'stored', isTrained, session);
    const multipliesInt8 =
      frozenExperts === 'int8-products' && runtime.device === null && (await hasExactInt8Products(runtime));
    const { device } = runtime;
    const isHalf =
      device === null
        ? null
        : halvesUnder(request.deviceWeights ?? 'auto', plan, () => device.hasFloat16, isTrained);
    const layout = {
      plan,
      parameters,
      isTrained,
      isRounded,
      ...(isHalf && { isHalf }),
      storedBytes: folder.totalBytes,
      session,
    };
    const memory = request.planMemory?.(layout) ?? null;
    const { recomputedLayers = 0, streamedLayers = 0 } = memory ?? {};
    const isStreamed = (parameter: Parameter) =>
      parameter.expert !== null &&
      parameter.layer !== null &&
      parameter.layer < streamedLayers &&
      !isRounded(parameter);
    const kernels = from?.kernels ?? createKernels(arena, runtime.threads);
    const devicePlan =
      runtime.device === null ? null : (request.planDevice?.(layout, streamedLayers) ?? null);
    const offload = devicePlan ?? {
      ...RESIDENT,
      streamedExpertLayers: streamedLayers,
      momentsOnHost: moments !== 'float32',
    };
    const store = ParameterStore.load({
      folder,
      family,
      plan,
      parameters,
      isTrained,
      isStreamed,
      holdsEmbedding: request.holdsEmbedding ?? false,
      isRounded,
      multipliesInt8,
      ...(isHalf && { isHalf }),
      arena,
      activationBytes: 1e6 * (memory?.parts['activations'] ?? 0),
      kernels,
      moments,
      device,
      devicePlace: (parameter) => placeUnder(offload, parameter, isTrained(parameter)),
      ...(from && { from: from.store }),
    });
    const executor = new Executor({
      plan,
      store,
      session,
      runtime,
      arena,
      kernels,
      recomputedLayers,
      ...(request.seed !== undefined && { seed: request.seed }),
    });
    const optimizer = await createOptimizer(store, kernels, runtime);
    const close = () => {
      kernels.release();
      runtime.release();
      folder.close();
    };
    return {
      family,
      plan,
      session,
      store,
      executor,
      optimizer,
      kernels,
      arena,
      runtime,
      memory,
      devicePlan,
      close,
    };
  } catch (error) {
    folder.close();
    throw error;
  }
}

/** The decoder of a model: data are checked against it before weights are read. */
export async function decoderPlanOf(modelDir: string): Promise<DecoderPlan> {
  const folder = await openModelFolder(modelDir);
  try {
    return decoderOf(folder).plan;
  } finally {
    folder.close();
  }
}
