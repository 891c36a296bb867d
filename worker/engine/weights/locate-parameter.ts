/** Where a parameter lies in a checkpoint folder, and its bytes. */
import { UserError } from '#core/contract/errors.ts';
import type { ModelFolder, TensorEntry } from '#worker/checkpoint/index.ts';
import {
  blockLayout,
  elementCount,
  forEachElement,
  isAddition,
  isContiguous,
  type BlockLayout,
  type DecoderPlan,
  type Family,
  type Parameter,
  type StoredTensor,
} from '#worker/model/index.ts';

/** A parameter in a checkpoint. */
export interface Located {
  readonly entry: TensorEntry;
  /** Bytes of the parameter itself. */
  readonly bytes: number;
  /** Where its elements are inside the tensor; null: it is the whole tensor. */
  readonly layout: BlockLayout | null;
}

/**
 * Finds a parameter on disk, in whichever layout the folder has, and checks its shape.
 * @throws UserError `checkpoint/missing-tensor` or `checkpoint/wrong-shape`.
 */
export function locateParameter(
  folder: ModelFolder,
  family: Family,
  plan: DecoderPlan,
  parameter: Parameter,
): Located {
  const places = isAddition(parameter) ? [{ name: parameter.id }] : family.stored(parameter, plan);
  const tensors = isAddition(parameter) ? folder.additions?.tensors : folder.tensors;
  const place: StoredTensor | undefined = places.find(({ name }) => tensors?.has(name));
  const entry = place && tensors?.get(place.name);
  if (place === undefined || entry === undefined) {
    throw new UserError(
      'checkpoint/missing-tensor',
      `${folder.dir}: tensor ${places.map(({ name }) => name).join(' or ')} is missing`,
      'The checkpoint is incomplete, or config.json does not belong to it.',
    );
  }
  const bytes = elementCount(parameter.shape) * bytesPerElement(entry);
  const shape = parameter.shape.join(' × ');
  if (place.block === undefined) {
    if (entry.shape.join() !== parameter.shape.join()) throw wrongShape(folder, entry, shape);
    return { entry, bytes, layout: null };
  }
  const layout = blockLayout(place.block, parameter.shape, entry.shape);
  if (layout === null) {
    const { index, fromRow, offset } = place.block;
    const row = index === null ? `from row ${fromRow}` : `from row ${fromRow} of block ${index}`;
    const where = offset === undefined ? row : `from element ${offset}`;
    throw wrongShape(folder, entry, `room for ${shape} ${where}`);
  }
  return { entry, bytes, layout };
}

function bytesPerElement(entry: TensorEntry): number {
  return (entry.end - entry.begin) / elementCount(entry.shape);
}

/** Reads a parameter as its tensor has it, in the parameter's own order, into `target` of `located.bytes`. */
export function readLocated(
  folder: ModelFolder,
  { entry, bytes, layout }: Located,
  target: Uint8Array,
): void {
  const size = bytesPerElement(entry);
  if (layout === null || isContiguous(layout)) {
    folder.readInto(entry.name, target.subarray(0, bytes), (layout?.start ?? 0) * size);
    return;
  }
  const last =
    layout.start + (layout.rows - 1) * layout.rowStride + (layout.columns - 1) * layout.columnStride;
  const around = new Uint8Array((last + 1 - layout.start) * size);
  folder.readInto(entry.name, around, layout.start * size);
  forEachElement(layout, (at, inTensor) => {
    const from = (inTensor - layout.start) * size;
    for (let byte = 0; byte < size; byte++) target[at * size + byte] = around[from + byte] as number;
  });
}

/** Reads row `row` of a matrix that lies in one piece, as its tensor has it, into `target`, which is as long as the row. */
export function readRow(
  folder: ModelFolder,
  { entry, layout }: Located,
  row: number,
  target: Uint8Array,
): void {
  folder.readInto(entry.name, target, (layout?.start ?? 0) * bytesPerElement(entry) + row * target.length);
}

function wrongShape(folder: ModelFolder, entry: TensorEntry, expected: string): UserError {
  return new UserError(
    'checkpoint/wrong-shape',
    `${folder.dir}: tensor ${entry.name} is ${entry.shape.join(' × ')}; config.json implies ${expected}`,
    'Check that config.json and the weights belong together.',
  );
}
