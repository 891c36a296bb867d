/** Selection of the k largest scores. */

/**
 * The `k` largest of each row, by falling score; of equal scores the lower index comes first. NaN is never chosen
 * before a number.
 * @param excluded columns that cannot be chosen.
 * @returns `[rows × k]` column indices.
 */
export function topK(
  scores: Float32Array | Float64Array,
  rows: number,
  columns: number,
  k: number,
  excluded: readonly number[] = [],
): Int32Array {
  const out = new Int32Array(rows * k);
  const best = new Float64Array(k);
  const barred = new Uint8Array(columns);
  for (const column of excluded) barred[column] = 1;
  for (let row = 0; row < rows; row++) {
    const base = row * columns;
    const slot = row * k;
    best.fill(-Infinity);
    let filled = 0;
    for (let column = 0; column < columns; column++) {
      if (barred[column] === 1) continue;
      const raw = scores[base + column] as number;
      const score = Number.isNaN(raw) ? -Infinity : raw;
      if (filled === k && score <= (best[k - 1] as number)) continue;
      let at = filled < k ? filled++ : k - 1;
      while (at > 0 && score > (best[at - 1] as number)) {
        best[at] = best[at - 1] as number;
        out[slot + at] = out[slot + at - 1] as number;
        at--;
      }
      best[at] = score;
      out[slot + at] = column;
    }
  }
  return out;
}
