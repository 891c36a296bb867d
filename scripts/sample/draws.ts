/** Seeded random draws for generated text and weights: the same on every machine. */
import { philox } from '#worker/random/index.ts';

/** A stream of draws keyed by (seed, stream). */
export class Draws {
  readonly #seed: number;
  readonly #stream: number;
  #counter = 0;

  constructor(seed: number, stream: number) {
    this.#seed = seed;
    this.#stream = stream;
  }

  /** Uniform in (0, 1). */
  uniform(): number {
    return (philox(this.#seed, this.#counter++, this.#stream)[0] + 0.5) / 2 ** 32;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A whole number from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  /** One of `items`. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length - 1)];
    if (item === undefined) throw new RangeError('pick from an empty list');
    return item;
  }

  /** `count` different items, in random order. */
  sample<T>(items: readonly T[], count: number): T[] {
    const rest = [...items];
    return Array.from({ length: count }, () => {
      const [item] = rest.splice(this.integer(0, rest.length - 1), 1);
      if (item === undefined) throw new RangeError('sample larger than the list');
      return item;
    });
  }
}
