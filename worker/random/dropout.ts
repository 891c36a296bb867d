/** Which numbers dropout leaves out, by counter: a mask is computed wherever it is needed and never stored. */
import { KEY_STEP, philox, streamOf } from './philox.ts';

/**
 * A mask of dropout (Srivastava et al. 2014): 0 with probability `rate`, else 1 / (1 − rate). An entry depends on the seed, on
 * what the mask is for (`name`), on the number of its row and on its column alone: neither on other rows nor on their order.
 *
 * Philox gives each row two words; an entry is these and its column mixed as by lowbias32 (Wellons 2018).
 * @param rows their numbers.
 * @param out `[rows × width]`, overwritten.
 */
export function dropoutMask(
  { seed, name, rate }: { readonly seed: number; readonly name: string; readonly rate: number },
  rows: ArrayLike<number>,
  width: number,
  out: Float32Array,
): void {
  const stream = streamOf(name);
  // Entries are chosen by their bits: a branch that nothing can predict would take most of the time.
  const limit = Math.round(rate * 2 ** 31);
  const [kept = 0] = new Int32Array(Float32Array.of(1 / (1 - rate)).buffer);
  const entries = new Int32Array(out.buffer, out.byteOffset, rows.length * width);
  for (let row = 0; row < rows.length; row++) {
    const words = philox(seed, rows[row] as number, stream);
    const [key, other] = [words[0] | 0, words[1] | 0];
    const start = row * width;
    for (let column = 0; column < width; column++) {
      let bits = (Math.imul(column, KEY_STEP) + key) | 0;
      bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad) ^ other;
      bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
      const isLeftOut = (((bits ^ (bits >>> 15)) >>> 1) - limit) >> 31;
      entries[start + column] = kept & ~isLeftOut;
    }
  }
}
