/** Shuffles and splits made from random numbers by counter: nothing to store, the same on every machine. */
import { philox } from '#worker/random/index.ts';

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
