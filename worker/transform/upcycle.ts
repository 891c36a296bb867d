/**
 * Sparse upcycling (Komatsuzaki et al. 2022, arXiv 2212.05055): a dense checkpoint becomes one with experts. Every expert of
 * a layer starts as a copy of its MLP, the router is fresh, everything else is carried over. Where gate weights are divided
 * by their sum, the new model computes what the dense one does, as long as no noise is added.
 */
import { isDeepStrictEqual } from 'node:util';
import { UserError, invariant } from '#core/contract/errors.ts';
import {
  exportHfFolder,
  isFloatDtype,
  openModelFolder,
  type FileDigest,
  type FloatDtype,
  type JsonObject,
  type TrainedTensor,
} from '#worker/checkpoint/index.ts';
import { locateParameter } from '#worker/engine/index.ts';
import { storedValues } from '#worker/export/index.ts';
import { familyOf } from '#worker/families/index.ts';
import {
  elementCount,
  moeLayerIndices,
  parameterId,
  parametersOf,
  type DecoderPlan,
  type Parameter,
  type WeightRole,
} from '#worker/model/index.ts';
import { normal } from '#worker/random/index.ts';
import { decoderOf } from '#worker/train/index.ts';

/** What to make. */
export interface UpcycleRequest {
  /** A dense checkpoint. */
  readonly modelDir: string;
  /** The folder to create. */
  readonly out: string;
  readonly experts: number;
  readonly expertsPerToken: number;
  /** Every so many layers has experts, counted from the last of each group; the others stay dense. */
  readonly every: number;
  readonly dtype: FloatDtype | 'source';
  readonly draws: UpcycleDraws;
}

/** Values that are drawn. */
export interface UpcycleDraws {
  /** A router `[experts × hidden]`. */
  router(router: Parameter): Float32Array;
  /** What is added to a weight of an expert; null: nothing. */
  noise(weight: Parameter): Float32Array | null;
}

/** Standard deviation of a fresh router. */
const ROUTER_DEVIATION = 0.02;

/** Draws that depend on the seed and on the name of the weight only. @param noise standard deviation; 0: none. */
export function seededDraws(seed: number, noise: number): UpcycleDraws {
  const draw = ({ id, shape }: Parameter, deviation: number) =>
    Float32Array.from(normal(seed, `upcycle ${id}`, elementCount(shape)), (x) => deviation * x);
  return {
    router: (router) => draw(router, ROUTER_DEVIATION),
    noise: (weight) => (noise === 0 ? null : draw(weight, noise)),
  };
}

type Target = (
  size: Pick<UpcycleRequest, 'experts' | 'expertsPerToken' | 'every'>,
  config: JsonObject,
) => JsonObject;

/** Dense family → what changes in `config.json`. Both targets divide gate weights by their sum. */
const targets: Readonly<Record<string, Target>> = {
  llama: ({ experts, expertsPerToken, every }) => {
    if (every !== 1) {
      throw new UserError(
        'upcycle/every-layer',
        'a Llama checkpoint becomes a Mixtral one, which has experts in every layer',
        'Leave out --every, or start from a Qwen3 checkpoint.',
      );
    }
    return {
      model_type: 'mixtral',
      architectures: ['MixtralForCausalLM'],
      num_local_experts: experts,
      num_experts_per_tok: expertsPerToken,
      sliding_window: null,
      output_router_logits: false,
      router_aux_loss_coef: 0.001,
      router_jitter_noise: 0,
    };
  },
  qwen3: ({ experts, expertsPerToken, every }, config) => ({
    model_type: 'qwen3_moe',
    architectures: ['Qwen3MoeForCausalLM'],
    num_experts: experts,
    num_experts_per_tok: expertsPerToken,
    moe_intermediate_size: config['intermediate_size'] ?? null,
    norm_topk_prob: true,
    decoder_sparse_step: every,
    mlp_only_layers: [],
    output_router_logits: false,
    router_aux_loss_coef: 0.001,
  }),
};

/** @throws UserError `upcycle/differs` where the target would compute something else than the dense decoder around its experts. */
function checkCarriedOver(dense: DecoderPlan, sparse: DecoderPlan): void {
  for (const [index, { attention, feedForward }] of dense.layers.entries()) {
    const hasBiases = feedForward.kind === 'dense' && feedForward.biases === true;
    if (!hasBiases && isDeepStrictEqual(attention, sparse.layers[index]?.attention)) continue;
    throw new UserError(
      'upcycle/differs',
      `layer ${index} has biases or a window that a ${sparse.family} checkpoint does not have`,
      'Start from a checkpoint without attention_bias, mlp_bias and use_sliding_window.',
    );
  }
}

const denseRoles: Readonly<Partial<Record<string, WeightRole>>> = {
  expertGate: 'denseGate',
  expertUp: 'denseUp',
  expertDown: 'denseDown',
};

/**
 * Writes the upcycled checkpoint.
 * @throws UserError `upcycle/…`, and those of the model folder and of the export.
 */
export async function upcycle(request: UpcycleRequest): Promise<{
  readonly family: string;
  readonly moeLayers: readonly number[];
  readonly files: readonly FileDigest[];
}> {
  const { modelDir, out, experts, expertsPerToken, dtype, draws } = request;
  const source = await openModelFolder(modelDir);
  try {
    const { family, plan } = decoderOf(source);
    const target = targets[family.name];
    if (target === undefined) {
      throw new UserError(
        'upcycle/unsupported-family',
        `${modelDir} is a ${family.name} checkpoint, which cannot be upcycled`,
        `Supported: dense checkpoints of ${Object.keys(targets).join(' and ')}.`,
      );
    }
    if (expertsPerToken > experts) {
      throw new UserError(
        'upcycle/top-k',
        `${expertsPerToken} experts for a token, but a layer has ${experts}`,
        'Choose fewer experts for a token, or make more.',
      );
    }
    const config = target(request, source.config);
    const sparse = familyOf({ ...source.config, ...config });
    const sparsePlan = sparse.plan({ ...source.config, ...config });
    const moeLayers = moeLayerIndices(sparsePlan);
    if (moeLayers.length === 0) {
      throw new UserError(
        'upcycle/no-layer',
        `--every ${request.every} leaves no layer with experts: the checkpoint has ${plan.layers.length}`,
        'Choose a smaller number.',
      );
    }
    checkCarriedOver(plan, sparsePlan);
    const denseParameters = new Map(parametersOf(plan).map((parameter) => [parameter.id, parameter]));
    const base = { source, family, plan };
    const tensors = new Map<string, TrainedTensor>();
    const omit = new Set<string>();
    for (const parameter of parametersOf(sparsePlan)) {
      const { id, role, layer, shape } = parameter;
      const denseRole = denseRoles[role];
      if (denseParameters.has(id)) continue;
      const name = sparse.stored(parameter, sparsePlan)[0]?.name;
      invariant(name !== undefined, `${id} has a published name`);
      const mlp = denseParameters.get(parameterId(denseRole ?? 'denseGate', layer, null));
      invariant(mlp !== undefined, `${id} comes from a dense layer`);
      const { entry } = locateParameter(source, family, plan, mlp);
      const own = isFloatDtype(entry.dtype) ? { dtype: entry.dtype } : {};
      if (role === 'router') {
        tensors.set(name, { shape, ...own, data: () => draws.router(parameter) });
        continue;
      }
      invariant(denseRole !== undefined, `${id} is a router or part of an expert`);
      omit.add(entry.name);
      tensors.set(name, {
        shape,
        ...own,
        data: () => {
          const noise = draws.noise(parameter);
          const values = storedValues(base, mlp);
          return noise === null ? values : values.map((value, i) => value + (noise[i] as number));
        },
      });
    }
    const files = await exportHfFolder({ source, out, tensors, omit, config, dtype });
    return { family: sparse.name, moeLayers, files };
  } finally {
    source.close();
  }
}
