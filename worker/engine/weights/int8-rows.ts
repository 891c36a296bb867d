/** Matrices as int8 values with a float32 scale for each row. */

/** A matrix W [R, C]: `W_rc ≈ scales_R[r] · values_RC[rC + c]`. */
export interface Int8Rows {
  readonly values_RC: Int8Array<ArrayBuffer>;
  readonly scales_R: Float32Array<ArrayBuffer>;
}

const LARGEST = 127;
/** The least normal float32: a scale below it has too few bits to divide by. */
const LEAST_SCALE = 2 ** -126;
/** Added to a number of less than 2^51 and taken away again, it leaves the nearest integer, ties to even. */
const ROUND = 1.5 * 2 ** 52;

/**
 * Rounds a matrix of rows of `columns` numbers: `s = max |w| / 127` in each row, and `w / s` to the nearest integer, ties to
 * even, so that no weight moves by more than s/2. A row without scale (all zeros, or next to it) has scale 1 and values 0; one
 * with a weight that is no finite number has scale NaN, so that it is not taken for numbers.
 */
export function roundRows(matrix: Float32Array, columns: number): Int8Rows {
  const values_RC = new Int8Array(matrix.length);
  const scales_R = new Float32Array(matrix.length / columns);
  for (let row = 0; row < scales_R.length; row++) {
    const [from, to] = [row * columns, (row + 1) * columns];
    let largest = 0;
    let sum = 0;
    for (let i = from; i < to; i++) {
      const magnitude = Math.abs(matrix[i] as number);
      if (magnitude > largest) largest = magnitude;
      sum += magnitude;
    }
    const scale = Math.fround(largest / LARGEST);
    if (!Number.isFinite(sum)) scales_R[row] = NaN;
    else if (scale < LEAST_SCALE) scales_R[row] = 1;
    else {
      scales_R[row] = scale;
      for (let i = from; i < to; i++) values_RC[i] = (matrix[i] as number) / scale + ROUND - ROUND;
    }
  }
  return { values_RC, scales_R };
}
