/** Tensors in the memory of the GPU, and the memory they lie in. */
import { invariant } from '#core/contract/errors.ts';
import type { Tensor } from 'onnxruntime-node';
import type { Binding, NativeSession } from './binding.ts';
import { explainError } from './explain-error.ts';
import type { TensorView } from './tensor-view.ts';

/**
 * A float32 tensor on the GPU. ONNX Runtime frees such memory only when told, ends the process when the data of one is
 * read like that of an ordinary tensor, and computes nonsense when one is given to a program on the CPU. So its tensor is
 * kept inside, whoever made this one disposes it, and only programs of the same memory take it.
 */
export class DeviceTensor {
  readonly dtype = 'float32';
  readonly shape: readonly number[];
  readonly memory: DeviceMemory;
  #tensor: Tensor | undefined;

  /** Made by `DeviceMemory` only. */
  constructor(memory: DeviceMemory, shape: readonly number[], tensor: Tensor) {
    this.memory = memory;
    this.shape = shape;
    this.#tensor = tensor;
  }

  get bytes(): number {
    return this.shape.reduce((product, dim) => product * dim, 4);
  }

  /** What ONNX Runtime knows it by. @throws InvariantError after `dispose`. */
  get native(): Tensor {
    invariant(this.#tensor !== undefined, `a device tensor [${this.shape.join(', ')}] is used after dispose`);
    return this.#tensor;
  }

  /** Gives its memory back. */
  dispose(): void {
    this.native.dispose();
    this.#tensor = undefined;
    this.memory.forget(this);
  }
}

/** Sessions from `x` to an equal `y`. */
export interface CopySessions {
  /** Leaves a new `y` on the GPU, whatever is fetched. */
  readonly upload: NativeSession;
  /** `y` goes where it is fetched to. */
  readonly copy: NativeSession;
}

/** The memory of the GPU: makes tensors there, reads them, and counts what they take. */
export class DeviceMemory {
  readonly #binding: Binding;
  readonly #makeCopies: (rank: number) => CopySessions;
  readonly #copies = new Map<number, CopySessions>();
  readonly #live = new Set<DeviceTensor>();
  #liveBytes = 0;
  #peakBytes = 0;

  /** @param makeCopies sessions for tensors of so many axes. */
  constructor(binding: Binding, makeCopies: (rank: number) => CopySessions) {
    this.#binding = binding;
    this.#makeCopies = makeCopies;
  }

  /** Bytes of all tensors that were not disposed. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Most bytes of tensors at one time since this was last asked. */
  takePeakBytes(): number {
    const peak = this.#peakBytes;
    this.#peakBytes = this.#liveBytes;
    return peak;
  }

  /** How many tensors were not disposed. */
  get liveTensors(): number {
    return this.#live.size;
  }

  /** A copy of a float32 tensor. @throws UserError `runtime/out-of-memory`, `runtime/device-lost`, as the others do. */
  upload({ dtype, shape, data }: TensorView): DeviceTensor {
    invariant(dtype === 'float32', `the GPU holds float32, got ${dtype}`);
    const given = this.#binding.createTensor('float32', data, shape);
    const { y } = this.#run(shape, 'upload', { x: given }, { y: null });
    invariant(y?.location === 'gpu-buffer', 'a copy to the GPU stayed outside');
    const tensor = new DeviceTensor(this, shape, y);
    this.#live.add(tensor);
    this.#liveBytes += tensor.bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return tensor;
  }

  /** Copies a tensor into `into`, and waits for everything that writes it. */
  read(tensor: DeviceTensor, into: Float32Array): void {
    invariant(tensor.memory === this, 'a device tensor of another memory');
    invariant(
      into.length * 4 === tensor.bytes,
      `a device tensor [${tensor.shape.join(', ')}] does not fill ${into.length} elements`,
    );
    const y = this.#binding.createTensor('float32', into, tensor.shape);
    this.#run(tensor.shape, 'copy', { x: tensor.native }, { y });
  }

  /** Replaces what a tensor holds. */
  write(tensor: DeviceTensor, from: Float32Array): void {
    const x = this.#binding.createTensor('float32', from, tensor.shape);
    const { y } = this.#run(tensor.shape, 'copy', { x }, { y: tensor.native });
    // A second handle on the same memory.
    y?.dispose();
  }

  /** A tensor tells that it is disposed. */
  forget(tensor: DeviceTensor): void {
    if (this.#live.delete(tensor)) this.#liveBytes -= tensor.bytes;
  }

  /** Disposes whatever is left. */
  release(): void {
    for (const tensor of this.#live) tensor.dispose();
    for (const { upload, copy } of this.#copies.values()) {
      upload.dispose();
      copy.dispose();
    }
    this.#copies.clear();
  }

  #run(
    shape: readonly number[],
    session: keyof CopySessions,
    feeds: Record<string, Tensor>,
    fetches: Record<string, Tensor | null>,
  ) {
    try {
      return this.#copiesOf(shape.length)[session].run(feeds, fetches, {});
    } catch (error) {
      throw explainError(`copy of [${shape.join(', ')}]`, true, error);
    }
  }

  #copiesOf(rank: number): CopySessions {
    let copies = this.#copies.get(rank);
    if (copies === undefined) {
      copies = this.#makeCopies(rank);
      this.#copies.set(rank, copies);
    }
    return copies;
  }
}
