/** The parameters of a model on a graphics adapter: what trains there, and copies of what does not. */
import type { DeviceMemory, DeviceTensor, TensorView } from '#worker/runtime/index.ts';
import { DeviceMirror } from './device-mirror.ts';
import type { TrainedMemory, TrainedName } from './trained-memory.ts';

/** What trains of one parameter, where programs read and write it. */
export type TrainedOnDevice = Readonly<Record<TrainedName, DeviceTensor>>;

/** Mirrors what trains in host memory: tensors are made when first asked for, and stages may hold on to them. */
export class DeviceParameters {
  readonly #mirror: DeviceMirror;
  readonly #host: TrainedMemory;
  /** Gradients that are known to be zero. */
  readonly #zero = new Set<string>();
  /** Weights that the host may have changed in place. */
  readonly #rewritten = new Set<string>();

  constructor(memory: DeviceMemory, host: TrainedMemory) {
    this.#mirror = new DeviceMirror(memory);
    this.#host = host;
  }

  /**
   * Whether a parameter trains here. The embedding does not: its rows are looked up and its gradient is added up in host
   * memory.
   */
  trains(id: string): boolean {
    return this.#host.has(id) && id !== 'embedding';
  }

  /** A weight as a graph input. @param host gives it in float32, where it is not here yet. */
  weight(id: string, host: () => TensorView): DeviceTensor {
    return this.#mirror.tensor(`weight ${id}`, host);
  }

  /** Everything of a parameter, for a program that writes all but the gradient. */
  trained(id: string): TrainedOnDevice {
    const tensors = {
      weight: this.#tensor('weight', id),
      gradient: this.gradient(id),
      first: this.#tensor('first', id),
      second: this.#tensor('second', id),
    };
    for (const name of ['weight', 'first', 'second']) this.#mirror.written(`${name} ${id}`);
    return tensors;
  }

  gradient(id: string): DeviceTensor {
    return this.#tensor('gradient', id);
  }

  /** The gradient, for a program that writes it. */
  writtenGradient(id: string): DeviceTensor {
    const tensor = this.gradient(id);
    this.#mirror.written(`gradient ${id}`);
    this.#zero.delete(id);
    return tensor;
  }

  zeroGradient(id: string): void {
    if (this.#zero.has(id)) return;
    this.#host.zeroGradient(id);
    this.#mirror.push(`gradient ${id}`, this.#host.view('gradient', id).data);
    this.#zero.add(id);
  }

  /** Brings host memory up to date. */
  pull(id: string, ...names: readonly TrainedName[]): void {
    for (const name of names) this.#mirror.pull(`${name} ${id}`, this.#host.view(name, id).data);
  }

  /** Brings a weight in host memory up to date, where it is going to be changed in place. */
  beginRewrite(id: string): void {
    this.pull(id, 'weight');
    this.#rewritten.add(id);
  }

  /** Takes over what was changed in place. */
  endRewrites(): void {
    for (const id of this.#rewritten) this.#mirror.push(`weight ${id}`, this.#host.view('weight', id).data);
    this.#rewritten.clear();
  }

  #tensor(name: TrainedName, id: string): DeviceTensor {
    return this.#mirror.tensor(`${name} ${id}`, () => this.#host.view(name, id));
  }
}
