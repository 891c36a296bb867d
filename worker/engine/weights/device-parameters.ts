/** The parameters of a model on a graphics adapter: what trains there, and copies of what does not. */
import { invariant } from '#core/contract/errors.ts';
import type { Parameter } from '#worker/model/index.ts';
import type { DeviceMemory, DeviceTensor, TensorView } from '#worker/runtime/index.ts';
import { DeviceMirror } from './device-mirror.ts';
import { DeviceStream } from './device-stream.ts';
import type { TrainedMemory, TrainedName } from './trained-memory.ts';

/**
 * Where a parameter lies for programs on a graphics adapter:
 * - `device`: there, with its gradient and moments if it trains;
 * - `moments-on-host`: there with its gradient, which comes back once a step, since the host moves it;
 * - `host`: in host memory with all that belongs to it. It is copied when a layer uses it, and its gradient comes back at once.
 */
export type DevicePlace = 'device' | 'moments-on-host' | 'host';

/** What trains of one parameter, where programs read and write it. */
export type TrainedOnDevice = Readonly<Record<TrainedName, DeviceTensor>>;

/** Mirrors what trains in host memory: tensors are made when first asked for, and stages may hold on to them. */
export class DeviceParameters {
  readonly #mirror: DeviceMirror;
  readonly #stream: DeviceStream;
  readonly #host: TrainedMemory;
  readonly #places = new Map<string, { readonly place: DevicePlace; readonly layer: number | null }>();
  /** Gradients that are known to be zero. */
  readonly #zero = new Set<string>();
  /** Weights that the host may have changed in place. */
  readonly #rewritten = new Set<string>();

  constructor(
    memory: DeviceMemory,
    host: TrainedMemory,
    parameters: readonly Parameter[],
    placeOf: (parameter: Parameter) => DevicePlace,
  ) {
    this.#mirror = new DeviceMirror(memory);
    this.#stream = new DeviceStream(memory);
    this.#host = host;
    for (const parameter of parameters)
      this.#places.set(parameter.id, { place: placeOf(parameter), layer: parameter.layer });
  }

  #place(id: string) {
    const place = this.#places.get(id);
    invariant(place !== undefined, `no parameter ${id}`);
    return place;
  }

  /** Whether a parameter trains here: its weight and its gradient are here. */
  trains(id: string): boolean {
    return this.#host.has(id) && this.#place(id).place !== 'host';
  }

  /** Whether the optimizer moves a parameter here: its moments are here too. */
  moves(id: string): boolean {
    return this.#host.has(id) && this.#place(id).place === 'device';
  }

  /** Whether a weight is here only while its layer is at work. */
  passes(id: string): boolean {
    return this.#place(id).place === 'host';
  }

  /** A weight as a graph input. @param host gives it in the type it has here, where it is not here yet. */
  weight(id: string, host: () => TensorView): DeviceTensor {
    const { place, layer } = this.#place(id);
    return place === 'host'
      ? this.#stream.tensor(id, layer, host)
      : this.#mirror.tensor(`weight ${id}`, host);
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
    if (!this.trains(id)) return;
    for (const name of names) this.#mirror.pull(`${name} ${id}`, this.#host.view(name, id).data);
  }

  /** Brings a weight in host memory up to date, where it is going to be changed in place. */
  beginRewrite(id: string): void {
    this.pull(id, 'weight');
    if (this.trains(id)) this.#rewritten.add(id);
  }

  /** Takes over what was changed in place. */
  endRewrites(): void {
    for (const id of this.#rewritten) this.#mirror.push(`weight ${id}`, this.#host.view('weight', id).data);
    this.#rewritten.clear();
    this.#stream.clear();
  }

  #tensor(name: TrainedName, id: string): DeviceTensor {
    return this.#mirror.tensor(`${name} ${id}`, () => this.#host.view(name, id));
  }
}
