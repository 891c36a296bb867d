/** Parameters that lie inside a larger tensor of a checkpoint: where their elements are. */
import type { StoredTensor } from './family.ts';

/** Element (r, c) of a parameter lies at `start + r · rowStride + c · columnStride` of the tensor. */
export interface BlockLayout {
  readonly start: number;
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/**
 * Where a parameter of `shape` lies in a tensor of `stored` shape.
 * @returns null when the tensor cannot hold it.
 */
export function blockLayout(
  { index, fromRow, step = 1, offset, transposed }: NonNullable<StoredTensor['block']>,
  shape: readonly number[],
  stored: readonly number[],
): BlockLayout | null {
  const [rows = 1, columns = 1] = shape;
  if (offset !== undefined) {
    const [length = 0, ...more] = stored;
    if (more.length > 0 || offset + rows * columns > length) return null;
    return { start: offset, rows, columns, rowStride: columns, columnStride: 1 };
  }
  const [stack = 1, ...inner] = index === null ? [1, ...stored] : stored;
  if (inner.length !== shape.length) return null;
  const [innerRows = 1, innerColumns = 1] = transposed ? inner.toReversed() : inner;
  const fits = (index ?? 0) < stack && fromRow + (rows - 1) * step < innerRows && columns === innerColumns;
  if (!fits) return null;
  const start = (index ?? 0) * innerRows * innerColumns;
  return transposed
    ? { start: start + fromRow, rows, columns, rowStride: step, columnStride: innerRows }
    : { start: start + fromRow * columns, rows, columns, rowStride: step * columns, columnStride: 1 };
}

/** Whether the elements of a block lie together, in order. */
export function isContiguous({ columns, rowStride, columnStride }: BlockLayout): boolean {
  return columnStride === 1 && rowStride === columns;
}

/** Calls `visit` for each element of a block, in the order of the parameter. */
export function forEachElement(layout: BlockLayout, visit: (at: number, inTensor: number) => void): void {
  for (let r = 0; r < layout.rows; r++) {
    for (let c = 0; c < layout.columns; c++) {
      visit(r * layout.columns + c, layout.start + r * layout.rowStride + c * layout.columnStride);
    }
  }
}

/** Puts a parameter's values where they lie in `tensor`. */
export function placeValues(values: ArrayLike<number>, layout: BlockLayout, tensor: Float32Array): void {
  forEachElement(layout, (at, inTensor) => {
    tensor[inTensor] = values[at] as number;
  });
}
