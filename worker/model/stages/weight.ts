/** Weights as graph inputs, in whatever type they are held, and the adapters beside them. */
import { invariant } from '#core/contract/errors.ts';
import { op, type Dim, type GraphBuilder, type Value } from '#worker/graph/index.ts';
import type { AdapterPlan } from '../adapters.ts';
import { adapterScale } from '../low-rank.ts';

/** How a checkpoint has a weight. */
export type StoredDtype = 'float32' | 'bfloat16' | 'float16';

/**
 * How a weight is read: trained ones in float32, frozen ones as the checkpoint has them, or rounded to int8 rows; matrices of
 * `int8-products` are such rows that are multiplied as they are.
 */
export type WeightDtype = StoredDtype | 'int8' | 'int8-products';

/** Declares weight input `name` and widens it to float32 inside the graph. Int8 rows have their scales in `name.scales`. */
export function weightInput(
  builder: GraphBuilder,
  name: string,
  dtype: WeightDtype | null,
  shape: readonly Dim[],
): Value {
  invariant(dtype !== null, `${name} is not there`);
  invariant(dtype !== 'int8-products', `${name} is multiplied as it is, and not widened`);
  if (dtype === 'int8') {
    const { values, scales } = int8Input(builder, name, shape);
    return op.dequantizeRows(values, scales);
  }
  const stored = builder.input(name, dtype, shape);
  return dtype === 'float32' ? stored : op.cast(stored, 'float32');
}

function int8Input(builder: GraphBuilder, name: string, shape: readonly Dim[]): Int8Inputs {
  return {
    values: builder.input(name, 'int8', shape),
    scales: builder.input(`${name}.scales`, 'float32', shape.slice(0, 1)),
  };
}

/** The type of each weight of a stage, by role; null: it is not there. */
export type WeightDtypes = (role: string) => WeightDtype | null;

/** A weight matrix W `[out, in]`: in float32 with what is beside it, or as int8 rows that are multiplied as they are. */
export type Matrix = FloatMatrix | Int8Inputs;

interface FloatMatrix {
  readonly weight: Value;
  readonly lowRank?: LowRankInputs;
  readonly submatrices?: SubmatrixInputs;
}

interface Int8Inputs {
  readonly values: Value;
  readonly scales: Value;
}

interface LowRankInputs {
  readonly loraA: Value;
  readonly loraB: Value;
  readonly magnitude?: Value;
  /** What the adapter's input is multiplied by, entry by entry: see `dropoutMask`. */
  readonly dropout?: Value;
  readonly scale: number;
}

interface SubmatrixInputs {
  readonly size: number;
  /** What trains, and what the weight has in its places: [places, size, size]. */
  readonly values: Value;
  readonly start: Value;
  /** The matrices of a `BlockPlacement`. */
  readonly rows: Value;
  readonly columns: Value;
  readonly at: Value;
}

/**
 * Declares matrix `role`, and what its adapter reads where it has one: `role.loraA`, `role.loraB` and `role.magnitude`, or
 * `role.submatrices`, `role.start`, `role.rows`, `role.columns` and `role.at`. Under dropout there is a mask
 * `role.dropout` [rows, in].
 * @param rows how many there are of what the matrix is multiplied with.
 */
export function matrixInput(
  builder: GraphBuilder,
  role: string,
  dtypes: WeightDtypes,
  [out, width]: readonly [out: Dim, width: Dim],
  adapters: AdapterPlan | null,
  rows: Dim = 'N',
): Matrix {
  if (dtypes(role) === 'int8-products') return int8Input(builder, role, [out, width]);
  const weight = weightInput(builder, role, dtypes(role), [out, width]);
  const part = (name: string, ...shape: readonly Dim[]) => builder.input(`${role}.${name}`, 'float32', shape);
  const size = adapters?.kind === 'low-rank' ? adapters.roles.get(role) : undefined;
  if (adapters?.kind === 'low-rank' && size !== undefined) {
    const { rank } = size;
    const { magnitude, rankStabilised, dropout } = adapters;
    const lowRank = {
      loraA: part('loraA', rank, width),
      loraB: part('loraB', out, rank),
      ...(magnitude && { magnitude: part('magnitude', out) }),
      ...(dropout > 0 && { dropout: part('dropout', rows, width) }),
      scale: adapterScale(size, rankStabilised),
    };
    return { weight, lowRank };
  }
  if (adapters?.kind === 'submatrices' && dtypes(`${role}.submatrices`) !== null) {
    invariant(typeof out === 'number' && typeof width === 'number', `${role} has a known shape`);
    const { size } = adapters;
    const [places, rows, columns] = [`${role}.places`, `${role}.touchedRows`, `${role}.touchedColumns`];
    const submatrices = {
      size,
      values: part('submatrices', places, size, size),
      start: part('start', places, size, size),
      rows: part('rows', out / size, rows),
      columns: part('columns', width / size, columns),
      at: part('at', `${rows}*${columns}`, places),
    };
    return { weight, submatrices };
  }
  return { weight };
}

/** `α x Wᵀ + b` with what is beside W; the bias is optional and not multiplied by α. */
export function linear(x: Value, matrix: Matrix, bias?: Value, alpha = 1): Value {
  const y = 'values' in matrix ? int8Product(x, matrix, alpha) : floatProduct(x, matrix, alpha);
  return bias === undefined ? y : op.add(y, bias);
}

function int8Product(x: Value, { values, scales }: Int8Inputs, alpha: number): Value {
  const product = op.int8Matmul(x, values, scales, { transB: true });
  return alpha === 1 ? product : op.mul(product, alpha);
}

function floatProduct(x: Value, { weight, lowRank, submatrices }: FloatMatrix, alpha: number): Value {
  const product = op.matmul(x, weight, { transB: true, alpha });
  if (lowRank !== undefined) return withLowRank(x, weight, product, lowRank, alpha);
  return submatrices === undefined ? product : op.add(product, submatrixChange(x, submatrices, alpha));
}

function withLowRank(
  x: Value,
  weight: Value,
  product: Value,
  { loraA, loraB, magnitude, dropout, scale }: LowRankInputs,
  alpha: number,
): Value {
  const read = dropout === undefined ? x : op.mul(x, dropout);
  const low_NR = op.matmul(read, loraA, { transB: true });
  const change = op.matmul(low_NR, loraB, { transB: true, alpha: alpha * scale });
  if (magnitude === undefined) return op.add(product, change);
  const direction = op.add(weight, op.matmul(loraB, loraA, { alpha: scale }));
  const norm = op.stopGradient(op.sqrt(op.reduceSum(op.square(direction), { axes: [-1] })));
  const share = op.div(magnitude, norm);
  if (dropout === undefined) return op.mul(op.add(product, change), share);
  const dropped = op.matmul(read, weight, { transB: true, alpha });
  return op.add(product, op.sub(op.mul(op.add(dropped, change), share), dropped));
}

/**
 * `x Δᵀ`. Touched columns are picked, Δ is put together and its rows are put back by products with matrices of 0 and 1: their
 * gradients are such products again, where a scatter-add would race.
 */
function submatrixChange(
  x: Value,
  { size, values, start, rows, columns, at }: SubmatrixInputs,
  alpha: number,
): Value {
  const [tokens = 0] = x.shape;
  const [outRows = 0, touchedRows = 0] = rows.shape;
  const [inColumns = 0, touchedColumns = 0] = columns.shape;
  const swap = (value: Value) => op.transpose(value, { perm: [1, 0, 2] });
  const x_CNs = op.reshape(swap(op.reshape(x, [tokens, inColumns, size])), [inColumns, -1]);
  const picked_TNs = op.reshape(op.matmul(columns, x_CNs, { transA: true }), [touchedColumns, tokens, size]);
  const x_NT = op.reshape(swap(picked_TNs), [tokens, -1]);

  const change_Pss = op.sub(values, start);
  const placed_RTss = op.reshape(op.matmul(at, op.reshape(change_Pss, [values.shape[0] ?? 0, -1])), [
    touchedRows,
    touchedColumns,
    size,
    size,
  ]);
  const delta_RT = op.reshape(op.transpose(placed_RTss, { perm: [0, 2, 1, 3] }), [
    `${size}*${touchedRows}`,
    -1,
  ]);

  const y_NR = op.matmul(x_NT, delta_RT, { transB: true, alpha });
  const y_RNs = op.reshape(swap(op.reshape(y_NR, [tokens, touchedRows, size])), [touchedRows, -1]);
  const put_ONs = op.reshape(op.matmul(rows, y_RNs), [outRows, tokens, size]);
  return op.reshape(swap(put_ONs), [tokens, -1]);
}
