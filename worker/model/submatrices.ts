/**
 * Sub-matrices of weights that train while the rest of the matrix stays (Sparse Matrix Tuning, arXiv 2405.15525). A weight
 * `[out, in]` is divided into squares of one size; the values S of the chosen ones replace those of the weight: `y = x Wᵀ + x Δᵀ`
 * with Δ = S − W in their places and 0 elsewhere, of which only the touched rows and columns are computed.
 */
import { invariant } from '#core/contract/errors.ts';
import type { WeightRole } from './parameter-roles.ts';
import { parameterId, type Parameter } from './parameters.ts';

/** A sub-matrix of a weight: its row and column among the weight's sub-matrices. */
export type Place = readonly [row: number, column: number];

/** Which sub-matrices of which weights train. */
export interface SubmatrixPlan {
  readonly kind: 'submatrices';
  /** Rows and columns of one. */
  readonly size: number;
  /** By id of the weight. */
  readonly places: ReadonlyMap<string, readonly Place[]>;
}

/** The parameter that holds the values of `places` of a weight, `[places, size, size]`. */
export function submatrixParameter(weight: Parameter, size: number, places: readonly Place[]): Parameter {
  const role = `${weight.role as WeightRole}.submatrices` as const;
  const { layer, expert } = weight;
  return { id: parameterId(role, layer, expert), role, layer, expert, shape: [places.length, size, size] };
}

/** Calls `visit` with the place of each element of the sub-matrices and of the weight, whose rows have `width` elements. */
function forEachElement(
  size: number,
  places: readonly Place[],
  width: number,
  visit: (inSubmatrices: number, inWeight: number) => void,
): void {
  places.forEach(([row, column], index) => {
    for (let r = 0; r < size; r++) {
      for (let c = 0; c < size; c++)
        visit((index * size + r) * size + c, (row * size + r) * width + column * size + c);
    }
  });
}

/** The values of `places` of a weight whose rows have `width` elements. */
export function takeSubmatrices(
  weight: Float32Array,
  size: number,
  places: readonly Place[],
  width: number,
): Float32Array {
  const values = new Float32Array(places.length * size * size);
  forEachElement(size, places, width, (at, inWeight) => {
    values[at] = weight[inWeight] as number;
  });
  return values;
}

/** A weight whose rows have `width` elements with `values` in `places`. */
export function placeSubmatrices(
  weight: Float32Array,
  values: Float32Array,
  size: number,
  places: readonly Place[],
  width: number,
): Float32Array {
  invariant(values.length === places.length * size * size, `${values.length} values of ${places.length}`);
  const changed = weight.slice();
  forEachElement(size, places, width, (at, inWeight) => {
    changed[inWeight] = values[at] as number;
  });
  return changed;
}

/** Matrices of 0 and 1, row by row, that pick what sub-matrices read and put back what they give. */
export interface BlockPlacement {
  /** `[rows of sub-matrices, touched rows]` and `[columns of sub-matrices, touched columns]`. */
  readonly rows: Float32Array;
  readonly columns: Float32Array;
  /** `[touched rows × touched columns, places]` */
  readonly at: Float32Array;
  readonly touchedRows: number;
  readonly touchedColumns: number;
}

/** Where `places` are in a weight of `rows` × `columns` sub-matrices. */
export function placementOf(places: readonly Place[], rows: number, columns: number): BlockPlacement {
  const touched = (axis: 0 | 1) => [...new Set(places.map((place) => place[axis]))].sort((a, b) => a - b);
  const [touchedRows, touchedColumns] = [touched(0), touched(1)];
  const at = places.map(
    ([row, column]) => touchedRows.indexOf(row) * touchedColumns.length + touchedColumns.indexOf(column),
  );
  return {
    rows: oneHot(touchedRows, rows),
    columns: oneHot(touchedColumns, columns),
    at: oneHot(at, touchedRows.length * touchedColumns.length),
    touchedRows: touchedRows.length,
    touchedColumns: touchedColumns.length,
  };
}

/** `[count, indices]`, 1 in row `indices[i]` of column i. */
function oneHot(indices: readonly number[], count: number): Float32Array {
  const matrix = new Float32Array(count * indices.length);
  indices.forEach((index, i) => {
    matrix[index * indices.length + i] = 1;
  });
  return matrix;
}
