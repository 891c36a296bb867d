import { InvariantError, invariant } from '#core/contract/errors.ts';
import type { Tensor } from 'onnxruntime-node';
import type { Binding, NativeSession } from './binding.ts';
import { DeviceTensor, type DeviceMemory } from './device-tensor.ts';
import { explainError } from './explain-error.ts';
import { dtypeOf } from './tensor-view.ts';
import type { TensorView } from './tensor-view.ts';

/** Tensors by input or output name; those on a GPU only for programs that run there. */
export type Tensors = Readonly<Record<string, TensorView | DeviceTensor>>;

/** A compiled graph. */
export interface Program {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * Runs on views of the caller's memory and blocks until done. Outputs named in `fetches` are written there; the others
   * are returned in new memory. A fetch may be the very memory of an input only where the graph allows working in place:
   * an elementwise op, or the addend of an accumulating product. On a GPU a run that fetches nothing into host memory
   * returns before it is done.
   * @throws InvariantError for wrong names, types or shapes; UserError `runtime/out-of-memory`, `runtime/device-lost`.
   */
  run(feeds: Tensors, fetches?: Tensors): Record<string, TensorView>;
  /** Gives the program back; it is unloaded when everyone who compiled it has done so. */
  release(): void;
}

/**
 * The first output of CPU programs, of a type that the binding refuses to hand over. After a run the binding makes a new array for
 * every output and copies it, also what was written where it was asked to be: a quarter of the time of a product with few rows and a
 * large result. Being refused the first output it ends before any copy, and what was fetched stands where it should.
 */
export const UNREADABLE = '%unreadable';

/** What the binding then says. */
const REFUSAL = 'Tensor type (16) is not supported.';

/** Bytes of outputs from which copying them takes longer than being refused, which takes about 10 µs. */
const COSTLY_COPY = 65_536;

/** A program over one native session. */
export class SessionProgram implements Program {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly #binding: Binding;
  /** Where its tensors may lie beside host memory. */
  readonly #device: DeviceMemory | null;
  readonly #hasUnreadable: boolean;
  readonly #onRelease: () => void;
  #session: NativeSession | undefined;

  constructor(
    binding: Binding,
    session: NativeSession,
    names: { readonly name: string; readonly inputs: readonly string[]; readonly outputs: readonly string[] },
    device: DeviceMemory | null,
    hasUnreadable: boolean,
    onRelease: () => void,
  ) {
    this.#binding = binding;
    this.#device = device;
    this.#hasUnreadable = hasUnreadable;
    this.#session = session;
    this.name = names.name;
    this.inputs = names.inputs;
    this.outputs = names.outputs;
    this.#onRelease = onRelease;
  }

  run(feeds: Tensors, fetches: Tensors = {}): Record<string, TensorView> {
    invariant(this.#session !== undefined, `${this.name}: run after release`);
    const given = this.#tensors('input', feeds, this.inputs);
    for (const name of this.inputs)
      invariant(name in given, () => `${this.name}: input '${name}' is missing`);
    const wanted: Record<string, Tensor | null> = this.#tensors('output', fetches, this.outputs);
    const isRefused = this.#hasUnreadable && this.#areAllLarge(fetches);
    if (isRefused) wanted[UNREADABLE] = null;
    for (const name of this.outputs) wanted[name] ??= null;
    let results: Record<string, Tensor>;
    try {
      results = this.#session.run(given, wanted, {});
    } catch (error) {
      if (isRefused && error instanceof Error && error.message === REFUSAL) return {};
      throw explainError(this.name, this.#device !== null, error);
    }
    const fresh: Record<string, TensorView> = {};
    for (const name of this.outputs) {
      const tensor = results[name];
      if (tensor === undefined) continue;
      if (name in fetches) {
        // A second handle on the tensor that was fetched into; the memory goes with the last one.
        if (tensor.location === 'gpu-buffer') tensor.dispose();
        continue;
      }
      fresh[name] = {
        dtype: dtypeOf(tensor.type),
        shape: tensor.dims,
        data: tensor.data as TensorView['data'],
      };
    }
    return fresh;
  }

  release(): void {
    this.#onRelease();
  }

  /** Unloads the session, whoever still holds the program. */
  dispose(): void {
    this.#session?.dispose();
    this.#session = undefined;
  }

  /** Writes what was recorded of the runs so far. */
  endProfiling(): void {
    this.#session?.endProfiling();
  }

  /** Whether every output is fetched, and together they are worth not being copied. */
  #areAllLarge(fetches: Tensors): boolean {
    let bytes = 0;
    for (const name of this.outputs) {
      const view = fetches[name];
      if (view === undefined || view instanceof DeviceTensor) return false;
      bytes += view.data.byteLength;
    }
    return bytes >= COSTLY_COPY;
  }

  #tensors(kind: 'input' | 'output', views: Tensors, known: readonly string[]): Record<string, Tensor> {
    const tensors: Record<string, Tensor> = {};
    for (const name in views) {
      const view = views[name];
      invariant(
        view !== undefined && known.includes(name),
        () => `${this.name}: has no ${kind} '${name}'; it has ${known.join(', ')}`,
      );
      tensors[name] = this.#tensor(kind, name, view);
    }
    return tensors;
  }

  #tensor(kind: string, name: string, given: TensorView | DeviceTensor): Tensor {
    if (given instanceof DeviceTensor) {
      invariant(
        given.memory === this.#device,
        `${this.name}: ${kind} '${name}' lies in the memory of a GPU that this program does not run on`,
      );
      return given.native;
    }
    const { dtype, shape, data } = given;
    // Half floats cross as the bits they are held in, but to a GPU.
    const isBits = dtype === 'bfloat16' || (dtype === 'float16' && this.#device === null);
    const type = isBits ? 'uint16' : dtype;
    try {
      return this.#binding.createTensor(type, data, shape);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new InvariantError(
        `${this.name}: ${kind} '${name}' as ${dtype}[${shape.join(', ')}] over ${data.constructor.name} of ${data.length}: ${message}`,
        { cause: error },
      );
    }
  }
}
