const MULTIPLIER = 0xd256d193;
/** 2³² by the golden ratio: spreads neighbouring numbers. */
export const KEY_STEP = 0x9e3779b9;

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

/** 32 bits of a text (FNV-1a), to name a stream. */
export function streamOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const unit of name) hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193);
  return hash >>> 0;
}

/** `count` numbers drawn evenly from (0, 1), which depend on the seed and on what they are for (`name`) only. */
export function uniform(seed: number, name: string, count: number): Float64Array {
  const stream = streamOf(name);
  return Float64Array.from({ length: count }, (_, i) => (philox(seed, i, stream)[0] + 0.5) / 2 ** 32);
}

/** `count` numbers of a standard normal distribution (Box & Muller 1958), from pairs of `uniform` ones. */
export function normal(seed: number, name: string, count: number): Float64Array {
  const half = Math.ceil(count / 2);
  const u = uniform(seed, name, 2 * half);
  return Float64Array.from({ length: count }, (_, i) => {
    const pair = i % half;
    const radius = Math.sqrt(-2 * Math.log(u[pair] as number));
    const angle = 2 * Math.PI * (u[half + pair] as number);
    return radius * (i < half ? Math.cos(angle) : Math.sin(angle));
  });
}
