/** Weights that only pass through the memory of a graphics adapter. */
import type { DeviceMemory, DeviceTensor, TensorView } from '#worker/runtime/index.ts';

/** Copies of the weights of one layer: asking for one of another layer gives those up. */
export class DeviceStream {
  readonly #memory: DeviceMemory;
  readonly #copies = new Map<string, DeviceTensor>();
  #layer: number | null = null;

  constructor(memory: DeviceMemory) {
    this.#memory = memory;
  }

  /**
   * A copy of what `host` gives, which is read at once.
   * @param layer null: of no layer, such as the head.
   */
  tensor(id: string, layer: number | null, host: () => TensorView): DeviceTensor {
    if (layer !== this.#layer) this.clear();
    this.#layer = layer;
    let copy = this.#copies.get(id);
    if (copy === undefined) {
      copy = this.#memory.upload(host());
      this.#copies.set(id, copy);
    }
    return copy;
  }

  /** Gives all copies up: their space is wanted, or the host has changed what they are of. */
  clear(): void {
    for (const copy of this.#copies.values()) copy.dispose();
    this.#copies.clear();
  }
}
