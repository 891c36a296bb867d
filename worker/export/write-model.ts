/** A model folder with changed weights, in the published layout. */
import { invariant } from '#core/contract/errors.ts';
import {
  decodeFloats,
  encodeFloats,
  exportHfFolder,
  isFloatDtype,
  type HfFolderRequest,
  type FileDigest,
  type FloatDtype,
  type FolderOptions,
  type ModelFolder,
  type TensorEntry,
  type TrainedTensor,
} from '#worker/checkpoint/index.ts';
import { locateParameter, readLocated } from '#worker/engine/index.ts';
import {
  blockLayout,
  isAddition,
  elementCount,
  placeValues,
  type DecoderPlan,
  type Family,
  type Parameter,
  type StoredTensor,
} from '#worker/model/index.ts';
import { additionsMetadata } from '#worker/train/index.ts';

/** A model folder, and the weights that differ from it. */
export interface ChangedModel {
  readonly source: ModelFolder;
  readonly family: Family;
  readonly plan: DecoderPlan;
  readonly parameters: readonly Parameter[];
  isChanged(parameter: Parameter): boolean;
  /** Present values in float32, changed or not. */
  values(parameter: Parameter): Float32Array;
}

/** Values of a parameter in a model folder, in float32. */
export function storedValues(
  { source, family, plan }: Pick<ChangedModel, 'source' | 'family' | 'plan'>,
  parameter: Parameter,
): Float32Array {
  const located = locateParameter(source, family, plan, parameter);
  const { entry } = located;
  invariant(isFloatDtype(entry.dtype), `${entry.name} is ${entry.dtype} and was changed`);
  const target = new Uint8Array(located.bytes);
  readLocated(source, located, target);
  return decodeFloats(target, entry.dtype);
}

/** Where a parameter lies in the source. */
export function placeOf(
  { source, family, plan }: Pick<ChangedModel, 'source' | 'family' | 'plan'>,
  parameter: Parameter,
): StoredTensor | undefined {
  return family.stored(parameter, plan).find(({ name }) => source.tensors.has(name));
}

/**
 * Writes a whole checkpoint folder in the published layout: tensors that hold several experts are taken apart unless the
 * family publishes them so, and additions lie in a file of their own.
 * @throws UserError `export/…`.
 */
export async function writeModel(
  model: ChangedModel,
  out: string,
  dtype: FloatDtype | 'source',
  extraFiles: ReadonlyMap<string, string | Uint8Array> = new Map(),
  onProgress?: FolderOptions['onProgress'],
): Promise<{ readonly files: readonly FileDigest[]; readonly tensors: number }> {
  const { source, family, plan, parameters } = model;
  const fused = new Set(
    parameters.flatMap((parameter) => {
      const place = placeOf(model, parameter);
      const published = family.stored(parameter, plan)[0];
      return place?.block === undefined || place.name === published?.name || !model.isChanged(parameter)
        ? []
        : [place.name];
    }),
  );
  const tensors = new Map<string, TrainedTensor>();
  for (const parameter of parameters) {
    const place = placeOf(model, parameter);
    const whole = source.tensors.get(place?.name ?? '');
    if (place?.block !== undefined && whole !== undefined && !fused.has(place.name)) {
      if (model.isChanged(parameter))
        tensors.set(place.name, { shape: whole.shape, data: () => wholeTensor(model, whole) });
      continue;
    }
    const name = fused.has(place?.name ?? '') ? family.stored(parameter, plan)[0]?.name : place?.name;
    if (name === undefined || !(model.isChanged(parameter) || fused.has(place?.name ?? ''))) continue;
    tensors.set(name, { shape: parameter.shape, data: () => model.values(parameter) });
  }
  const ownType = [...fused].map((name) => source.tensors.get(name)?.dtype)[0];
  const files = await exportHfFolder({
    source,
    out,
    tensors,
    omit: fused,
    // New names have no type of their own in the source: they keep that of the tensor they come from.
    dtype: dtype === 'source' && ownType !== undefined && isFloatDtype(ownType) ? ownType : dtype,
    extraFiles,
    onProgress,
    ...(parameters.some((parameter) => isAddition(parameter) && model.isChanged(parameter)) && {
      additions: additionsFile(model),
    }),
  });
  return { files, tensors: tensors.size };
}

/** What the file of additions holds: in float32, whatever the type of the weights. */
function additionsFile(model: ChangedModel): NonNullable<HfFolderRequest['additions']> {
  const tensors = model.parameters.filter(isAddition).map((parameter) => ({
    name: parameter.id,
    dtype: 'F32' as const,
    shape: parameter.shape,
    data: () => encodeFloats(model.values(parameter), 'F32'),
  }));
  return { tensors, metadata: additionsMetadata(model.plan) };
}

/** A tensor that holds several parameters, put together from the values of each. */
function wholeTensor(model: ChangedModel, { name, shape }: TensorEntry): Float32Array {
  const values = new Float32Array(elementCount(shape));
  for (const parameter of model.parameters) {
    const place = placeOf(model, parameter);
    if (place?.name !== name || place.block === undefined) continue;
    const layout = blockLayout(place.block, parameter.shape, shape);
    invariant(layout !== null, `${parameter.id} fits into ${name}`);
    placeValues(model.values(parameter), layout, values);
  }
  return values;
}
