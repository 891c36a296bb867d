/** What lies in host memory and, for programs on a GPU, in its memory too. */
import { invariant } from '#core/contract/errors.ts';
import type { DeviceMemory, DeviceTensor, TensorView } from '#worker/runtime/index.ts';

interface Copy {
  readonly tensor: DeviceTensor;
  /** The GPU wrote it, host memory does not know. */
  isAhead: boolean;
}

/**
 * Copies of named host memory on the GPU. A copy is made when it is first asked for; from then on the GPU has the say, and
 * host memory is brought up to date when it is read.
 */
export class DeviceMirror {
  readonly #memory: DeviceMemory;
  readonly #copies = new Map<string, Copy>();

  constructor(memory: DeviceMemory) {
    this.#memory = memory;
  }

  /** The copy called `key` of what `host` gives. */
  tensor(key: string, host: () => TensorView): DeviceTensor {
    let copy = this.#copies.get(key);
    if (copy === undefined) {
      copy = { tensor: this.#memory.upload(host()), isAhead: false };
      this.#copies.set(key, copy);
    }
    return copy.tensor;
  }

  /** Brings the copy, if there is one, up to date with `from`, which the host wrote. */
  push(key: string, from: Float32Array): void {
    const copy = this.#copies.get(key);
    if (copy === undefined) return;
    this.#memory.write(copy.tensor, from);
    copy.isAhead = false;
  }

  /** Declares that a program writes the copy. */
  written(key: string): void {
    const copy = this.#copies.get(key);
    invariant(copy !== undefined, `${key} is written on the GPU, where it is not`);
    copy.isAhead = true;
  }

  /** Brings `into`, the host memory of `key`, up to date. */
  pull(key: string, into: Float32Array): void {
    const copy = this.#copies.get(key);
    if (copy?.isAhead !== true) return;
    this.#memory.read(copy.tensor, into);
    copy.isAhead = false;
  }
}
