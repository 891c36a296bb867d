/** Random numbers by counter, and the shuffles and splits made from them: nothing to store, the same on every machine. */

const MULTIPLIER = 0xd256d193;
const KEY_STEP = 0x9e3779b9;

/** High and low half of the 64-bit product of two unsigned 32-bit numbers. */
function multiply(a: number, b: number): [high: number, low: number] {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const cross = aLow * bHigh + (middle % 0x10000);
  const high = aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000);
  return [high >>> 0, Math.imul(a, b) >>> 0];
}

/**
 * Philox2x32-10: two random unsigned 32-bit numbers for a key and a two-word counter.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export function philox(key: number, counter: number, stream: number): [number, number] {
  let k = key >>> 0;
  let [left, right] = [counter >>> 0, stream >>> 0];
  for (let round = 0; round < 10; round++) {
    const [high, low] = multiply(MULTIPLIER, left);
    left = (high ^ k ^ right) >>> 0;
    right = low;
    k = (k + KEY_STEP) >>> 0;
  }
  return [left, right];
}

/** Streams of random numbers drawn from one seed; each use has its own half of the stream space, indexed by epoch. */
const STREAM = { order: 0, batches: 0x80000000 } as const;

/** Fisher–Yates shuffle in place, with one counter value per exchange. */
function shuffle(items: Uint32Array, seed: number, stream: number): void {
  for (let i = items.length - 1; i > 0; i--) {
    const [a, b] = philox(seed, i, stream);
    // 53 random bits scaled to 0…i: the bias is below i / 2^53.
    const j = Math.floor(((a * 0x200000 + (b >>> 11)) / 2 ** 53) * (i + 1));
    const kept = items[i] ?? 0;
    items[i] = items[j] ?? 0;
    items[j] = kept;
  }
}

/** Order of `count` examples in an epoch: a permutation of 0…count−1 that depends on (seed, epoch) only. */
export function epochOrder(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  shuffle(order, seed, STREAM.order + epoch);
  return order;
}

/** Order of `count` groups of examples in an epoch, independent of {@link epochOrder}. */
export function groupOrder(count: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  shuffle(order, seed, STREAM.batches + epoch);
  return order;
}

/** A number in [0, 1) that depends on the seed and a 53-bit content hash only: which side of a split a row falls on. */
export function splitPoint(seed: number, contentHash: number): number {
  const [value] = philox(seed, contentHash % 2 ** 32, Math.floor(contentHash / 2 ** 32));
  return value / 2 ** 32;
}
