/** The masks that dropout of adapters multiplies their inputs with. */
import { hasDropout, type AdapterPlan } from '#worker/model/index.ts';
import { dropoutMask } from '#worker/random/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';

/** Where in a run a micro-batch is; both count from 0. */
export interface BatchPlace {
  readonly step: number;
  readonly microBatch: number;
}

/**
 * Draws masks for one micro-batch after the other. They follow from the seed, the place and what they are for, so that a layer
 * that is computed twice, its backward pass and a resumed run have the same ones.
 */
export class AdapterDropout {
  readonly #rate: number;
  readonly #seed: number;
  /** By name: a mask is good until the next one of that name. */
  readonly #room = new Map<string, Float32Array>();
  #place: BatchPlace = { step: 0, microBatch: 0 };

  private constructor(rate: number, seed: number) {
    this.#rate = rate;
    this.#seed = seed;
  }

  /** Null: nothing is left out. @param seed of the run. */
  static of(adapters: AdapterPlan | null, seed: number): AdapterDropout | null {
    return hasDropout(adapters) ? new AdapterDropout(adapters.dropout, seed) : null;
  }

  /** The masks from now on are those of another micro-batch. */
  moveTo(place: BatchPlace): void {
    this.#place = place;
  }

  /**
   * The mask [rows, width] for what the adapter beside weight `id` reads.
   * @param room name of the memory it lies in.
   * @param tokens the token of each row, in the micro-batch.
   */
  mask(id: string, room: string, tokens: ArrayLike<number>, width: number): TensorView {
    const size = tokens.length * width;
    let data = this.#room.get(room);
    if (data === undefined || data.length < size) {
      data = new Float32Array(size);
      this.#room.set(room, data);
    }
    const { step, microBatch } = this.#place;
    const name = `dropout ${step} ${microBatch} ${id}`;
    const own = data.subarray(0, size);
    dropoutMask({ seed: this.#seed, name, rate: this.#rate }, tokens, width, own);
    return { dtype: 'float32', shape: [tokens.length, width], data: own };
  }
}
