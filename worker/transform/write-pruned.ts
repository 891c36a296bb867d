/** Checkpoints without some neurons of their experts, in three layouts. */
import { UserError, invariant } from '#core/contract/errors.ts';
import {
  exportHfFolder,
  isFloatDtype,
  type FileDigest,
  type FloatDtype,
  type JsonObject,
  type ModelFolder,
  type TrainedTensor,
} from '#worker/checkpoint/index.ts';
import { placeOf, storedValues, writeModel } from '#worker/export/index.ts';
import {
  additionsOf,
  elementCount,
  moeLayerIndices,
  parameterId,
  parametersOf,
  withAdditions,
  type DecoderPlan,
  type Family,
  type Parameter,
} from '#worker/model/index.ts';
import { concatenated } from './concatenated.ts';
import type { DroppedNeurons } from './select-neurons.ts';

/**
 * `mask`: shapes stay, weights of dropped neurons are zero. `structural`: the weights are gone; every expert must keep the
 * same number. `ragged`: each expert has its own width, as the format of "Less is MoE" for Qwen3-MoE stores it.
 */
export const prunedLayouts = ['mask', 'structural', 'ragged'] as const;
export type PrunedLayout = (typeof prunedLayouts)[number];

/** A checkpoint and what to leave out of it. */
export interface PruneSource {
  readonly source: ModelFolder;
  readonly family: Family;
  readonly plan: DecoderPlan;
  readonly dropped: DroppedNeurons;
}

/** Where to write, and how. */
export interface PruneTarget {
  readonly out: string;
  readonly layout: PrunedLayout;
  readonly dtype: FloatDtype | 'source';
  readonly extraFiles: ReadonlyMap<string, string>;
}

/** Roles of which a neuron is a row; of `expertDown` it is a column. */
const rowRoles: ReadonlySet<string> = new Set(['expertGate', 'expertUp', 'expertGateBias', 'expertUpBias']);

function isPruned({ role }: Parameter): boolean {
  return rowRoles.has(role) || role === 'expertDown';
}

/** Dropped neurons of the expert a parameter belongs to. */
function droppedOf({ plan, dropped }: PruneSource, { layer, expert }: Parameter): ReadonlySet<number> {
  return new Set(dropped[moeLayerIndices(plan).indexOf(layer ?? -1)]?.[expert ?? -1]);
}

/** Neuron of element `at`. */
function neuronOf({ role, shape }: Parameter, at: number): number {
  const width = shape[1] ?? 1;
  return role === 'expertDown' ? at % width : Math.floor(at / width);
}

/** A parameter without the elements of dropped neurons. */
function kept(from: PruneSource, parameter: Parameter): Float32Array {
  const gone = droppedOf(from, parameter);
  return storedValues(from, parameter).filter((_, at) => !gone.has(neuronOf(parameter, at)));
}

/**
 * Writes the pruned checkpoint.
 * @throws UserError `prune/…` where the layout cannot hold it, and those of the export.
 */
export async function writePruned(from: PruneSource, target: PruneTarget): Promise<readonly FileDigest[]> {
  switch (target.layout) {
    case 'mask':
      return writeMasked(from, target);
    case 'structural':
      return writeStructural(from, target);
    case 'ragged':
      return writeRagged(from, target);
  }
}

async function writeMasked(
  from: PruneSource,
  { out, dtype, extraFiles }: PruneTarget,
): Promise<readonly FileDigest[]> {
  const { files } = await writeModel(
    {
      ...from,
      parameters: parametersOf(from.plan),
      isChanged: (parameter) => isPruned(parameter) && droppedOf(from, parameter).size > 0,
      values(parameter) {
        const gone = isPruned(parameter) ? droppedOf(from, parameter) : new Set<number>();
        return storedValues(from, parameter).map((value, at) =>
          gone.has(neuronOf(parameter, at)) ? 0 : value,
        );
      },
    },
    out,
    dtype,
    extraFiles,
  );
  return files;
}

/** Fields of `config.json` that may hold the width of an expert. */
const widthFields = ['moe_intermediate_size', 'intermediate_size'] as const;

/** What changes in `config.json` for experts of `width`, and nothing else in the plan. @throws UserError `prune/width-field`. */
function widthConfig({ source, family, plan }: PruneSource, width: number): JsonObject {
  const wanted = JSON.stringify({
    ...plan,
    layers: plan.layers.map((layer) =>
      layer.feedForward.kind === 'moe'
        ? { ...layer, feedForward: { ...layer.feedForward, intermediate: width } }
        : layer,
    ),
  });
  const field = widthFields.find((name) => name in source.config);
  const change = field === undefined ? {} : { [field]: width };
  const narrower = withAdditions(family.plan({ ...source.config, ...change }), additionsOf(plan));
  if (JSON.stringify(narrower) === wanted) return change;
  throw new UserError(
    'prune/width-field',
    `config.json (${family.name}) has no field that changes the width of the routed experts alone`,
    'Use --layout mask, which keeps all shapes.',
  );
}

async function writeStructural(
  from: PruneSource,
  { out, dtype, extraFiles }: PruneTarget,
): Promise<readonly FileDigest[]> {
  const { source, family, plan, dropped } = from;
  const widths = new Set(
    moeLayerIndices(plan).flatMap((layer, l) => {
      const { feedForward } = plan.layers[layer] ?? {};
      const full = feedForward?.kind === 'moe' ? feedForward.intermediate : 0;
      return (dropped[l] ?? []).map((neurons) => full - neurons.length);
    }),
  );
  const [width] = widths;
  if (widths.size !== 1 || width === undefined || width === 0) {
    throw new UserError(
      'prune/not-uniform',
      `experts keep ${[...widths].sort((a, b) => a - b).join(', ')} neurons; a structural checkpoint needs one width above 0`,
      'Use --scope expert, or --layout mask (or ragged, for Qwen3-MoE).',
    );
  }
  const config = widthConfig(from, width);
  const tensors = new Map<string, TrainedTensor>();
  const omit = new Set<string>();
  for (const parameter of parametersOf(plan).filter(isPruned)) {
    const [published] = family.stored(parameter, plan);
    const place = placeOf(from, parameter);
    if (published === undefined || published.block !== undefined || place === undefined) {
      throw new UserError(
        'prune/fused-layout',
        `${family.name} publishes its experts in one tensor, which cannot be made narrower yet`,
        'Use --layout mask, which keeps all shapes.',
      );
    }
    omit.add(place.name);
    const own = source.tensors.get(place.name)?.dtype;
    tensors.set(published.name, {
      shape:
        parameter.role === 'expertDown'
          ? [parameter.shape[0] ?? 0, width]
          : [width, ...parameter.shape.slice(1)],
      data: () => kept(from, parameter),
      ...(own !== undefined && isFloatDtype(own) && { dtype: own }),
    });
  }
  return exportHfFolder({ source, out, tensors, omit, dtype, config, extraFiles });
}

async function writeRagged(
  from: PruneSource,
  { out, dtype, extraFiles }: PruneTarget,
): Promise<readonly FileDigest[]> {
  const { source, family, plan, dropped } = from;
  if (family.name !== 'qwen3_moe') {
    throw new UserError(
      'prune/ragged-family',
      `experts of different widths are stored for qwen3_moe only; this is a ${family.name} checkpoint`,
      'Use --layout mask.',
    );
  }
  const tensors = new Map<string, TrainedTensor>();
  const omit = new Set<string>();
  const sizes: Record<string, number[]> = {};
  const byId = new Map(parametersOf(plan).map((parameter) => [parameter.id, parameter]));
  moeLayerIndices(plan).forEach((layer, l) => {
    const experts = dropped[l] ?? [];
    const of = (role: Parameter['role'], expert: number): Parameter => {
      const parameter = byId.get(parameterId(role, layer, expert));
      invariant(parameter !== undefined, `${role} of expert ${expert} in layer ${layer}`);
      return parameter;
    };
    const own = source.tensors.get(placeOf(from, of('expertGate', 0))?.name ?? '')?.dtype;
    const flat = (name: string, roles: readonly Parameter['role'][]) => {
      const parts = experts.flatMap((_, expert) => roles.map((role) => of(role, expert)));
      for (const part of parts) omit.add(placeOf(from, part)?.name ?? '');
      const keptOf = (part: Parameter) =>
        (elementCount(part.shape) * widthOf(part.expert ?? 0)) / neuronsOf(part);
      tensors.set(`model.layers.${layer}.mlp.experts.${name}`, {
        shape: [parts.reduce((sum, part) => sum + keptOf(part), 0)],
        ...(own !== undefined && isFloatDtype(own) && { dtype: own }),
        data: () => concatenated(parts.map((part) => kept(from, part))),
      });
    };
    const neuronsOf = (part: Parameter) => part.shape[part.role === 'expertDown' ? 1 : 0] ?? 0;
    const widthOf = (expert: number) => neuronsOf(of('expertGate', expert)) - (experts[expert]?.length ?? 0);
    flat('gate_up_proj', ['expertGate', 'expertUp']);
    flat('down_proj', ['expertDown']);
    sizes[layer] = experts.map((_, expert) => widthOf(expert));
  });
  const config = {
    architectures: ['RaggedQwen3MoeForCausalLM'],
    less_is_moe: {
      format_version: 1,
      weight_layout: 'flat_gate_up_down_v1',
      expert_intermediate_sizes: sizes,
    },
  };
  return exportHfFolder({ source, out, tensors, omit, dtype, config, extraFiles });
}
