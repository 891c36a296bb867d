/** Tensors in the memory of the GPU, and the memory they lie in. */
import { invariant } from '#core/contract/errors.ts';
import type { Tensor } from 'onnxruntime-node';
import type { Binding, NativeSession } from './binding.ts';
import { explainError } from './explain-error.ts';
import type { TensorView } from './tensor-view.ts';

/** What tensors on the GPU hold: weights that do not change may be float16. */
export type DeviceDtype = 'float32' | 'float16';

/**
 * A tensor on the GPU. ONNX Runtime frees such memory only when told, ends the process when the data of one is
 * read like that of an ordinary tensor, and computes nonsense when one is given to a program on the CPU. So its tensor is
 * kept inside, whoever made this one disposes it, and only programs of the same memory take it.
 */
export class DeviceTensor {
  readonly dtype: DeviceDtype;
  readonly shape: readonly number[];
  readonly memory: DeviceMemory;
  #tensor: Tensor | undefined;

  /** Made by `DeviceMemory` only. */
  constructor(memory: DeviceMemory, dtype: DeviceDtype, shape: readonly number[], tensor: Tensor) {
    this.memory = memory;
    this.dtype = dtype;
    this.shape = shape;
    this.#tensor = tensor;
  }

  get bytes(): number {
    return this.shape.reduce((product, dim) => product * dim, this.dtype === 'float32' ? 4 : 2);
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

/** Makes the sessions of a memory. */
export interface DeviceSessions {
  /** For tensors of so many axes. */
  copies(dtype: DeviceDtype, rank: number): CopySessions;
  /** From a float16 vector `x` to a float32 one `y`. */
  widening(): NativeSession;
}

/** The memory of the GPU: makes tensors there, reads them, and counts what they take. */
export class DeviceMemory {
  readonly #binding: Binding;
  readonly #sessions: DeviceSessions;
  readonly #copies = new Map<string, CopySessions>();
  readonly #live = new Set<DeviceTensor>();
  #liveBytes = 0;
  #peakBytes = 0;
  #widening: NativeSession | undefined;
  #hasFloat16: boolean | undefined;

  constructor(binding: Binding, sessions: DeviceSessions) {
    this.#binding = binding;
    this.#sessions = sessions;
  }

  /** Whether programs can read float16 (WebGPU's `shader-f16`); found out when first asked. @throws UserError `runtime/no-adapter`. */
  get hasFloat16(): boolean {
    return (this.#hasFloat16 ??= this.#tryFloat16());
  }

  #tryFloat16(): boolean {
    const one = 0x3c00;
    const x = this.#binding.createTensor('float16', Uint16Array.of(one), [1]);
    const y = new Float32Array(1);
    this.#widening = this.#sessions.widening();
    try {
      this.#widening.run({ x }, { y: this.#binding.createTensor('float32', y, [1]) }, {});
    } catch (error) {
      if (error instanceof Error && error.message.includes('requires f16')) return false;
      throw explainError('widening of float16', true, error);
    }
    return y[0] === 1;
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

  /** A copy of a float32 or float16 tensor. @throws UserError `runtime/out-of-memory`, `runtime/device-lost`, as the others do. */
  upload({ dtype, shape, data }: TensorView): DeviceTensor {
    invariant(dtype === 'float32' || dtype === 'float16', `the GPU holds float32 and float16, got ${dtype}`);
    const given = this.#binding.createTensor(dtype, data, shape);
    const { y } = this.#run(dtype, shape, 'upload', { x: given }, { y: null });
    invariant(y?.location === 'gpu-buffer', 'a copy to the GPU stayed outside');
    const tensor = new DeviceTensor(this, dtype, shape, y);
    this.#live.add(tensor);
    this.#liveBytes += tensor.bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return tensor;
  }

  /** Copies a float32 tensor into `into`, and waits for everything that writes it. */
  read(tensor: DeviceTensor, into: Float32Array): void {
    invariant(tensor.memory === this, 'a device tensor of another memory');
    invariant(
      tensor.dtype === 'float32' && into.length * 4 === tensor.bytes,
      `a device tensor ${tensor.dtype}[${tensor.shape.join(', ')}] does not fill ${into.length} elements`,
    );
    const y = this.#binding.createTensor('float32', into, tensor.shape);
    this.#run('float32', tensor.shape, 'copy', { x: tensor.native }, { y });
  }

  /** Replaces what a float32 tensor holds. */
  write(tensor: DeviceTensor, from: Float32Array): void {
    const x = this.#binding.createTensor('float32', from, tensor.shape);
    const { y } = this.#run('float32', tensor.shape, 'copy', { x }, { y: tensor.native });
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
    this.#widening?.dispose();
    this.#widening = undefined;
  }

  #run(
    dtype: DeviceDtype,
    shape: readonly number[],
    session: keyof CopySessions,
    feeds: Record<string, Tensor>,
    fetches: Record<string, Tensor | null>,
  ) {
    try {
      return this.#copiesOf(dtype, shape.length)[session].run(feeds, fetches, {});
    } catch (error) {
      throw explainError(`copy of [${shape.join(', ')}]`, true, error);
    }
  }

  #copiesOf(dtype: DeviceDtype, rank: number): CopySessions {
    const key = `${dtype} ${rank}`;
    let copies = this.#copies.get(key);
    if (copies === undefined) {
      copies = this.#sessions.copies(dtype, rank);
      this.#copies.set(key, copies);
    }
    return copies;
  }
}
