/**
 * Where in host memory lies what trains: float32 masters, their gradients and moments, in blocks of one arena with the same
 * order, so that the optimizer walks them in one pass.
 */
import { invariant } from '#core/contract/errors.ts';
import type { MomentFormat } from '#core/contract/run-spec.ts';
import type { Arena, Kernels } from '#worker/kernels/index.ts';
import { elementCount, type Parameter } from '#worker/model/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import { MOMENT_BLOCK, Moments, type TrainedPart } from './moments.ts';

/** A contiguous range of elements with one decay rule. */
export interface OptimizerRange {
  readonly start: number;
  readonly count: number;
  /** Matrices decay, vectors do not. */
  readonly decays: boolean;
}

/** What there is of a trained parameter. */
export type TrainedName = 'weight' | 'gradient' | 'first' | 'second';

interface Entry {
  /** Elements from the start of each block. */
  readonly start: number;
  readonly count: number;
  readonly shape: readonly number[];
}

/** The blocks of all parameters that train, matrices first. */
export class TrainedMemory {
  /** Byte offsets in the arena. */
  readonly weights: number;
  readonly gradients: number;
  readonly moments: Moments;
  /** Elements of a block. */
  readonly elements: number;
  readonly #arena: Arena;
  readonly #kernels: Kernels;
  readonly #entries = new Map<string, Entry>();
  readonly #matricesEnd: number;

  constructor(trainable: readonly Parameter[], arena: Arena, kernels: Kernels, moments: MomentFormat) {
    this.#arena = arena;
    this.#kernels = kernels;
    const isMatrix = ({ shape }: Parameter) => shape.length > 1;
    let end = 0;
    const place = ({ id, shape }: Parameter): void => {
      const count = elementCount(shape);
      this.#entries.set(id, { start: end, count, shape });
      end += Math.ceil(count / MOMENT_BLOCK) * MOMENT_BLOCK;
    };
    trainable.filter(isMatrix).forEach(place);
    this.#matricesEnd = end;
    trainable.filter((parameter) => !isMatrix(parameter)).forEach(place);
    this.elements = end;
    this.weights = arena.allocateZeros(end * 4).offset;
    this.gradients = arena.allocateZeros(end * 4).offset;
    this.moments = new Moments(moments, end, arena, kernels);
  }

  get ids(): Iterable<string> {
    return this.#entries.keys();
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** All elements, in as few ranges as there are decay rules. */
  get ranges(): readonly OptimizerRange[] {
    const ranges = [
      { start: 0, count: this.#matricesEnd, decays: true },
      { start: this.#matricesEnd, count: this.elements - this.#matricesEnd, decays: false },
    ];
    return ranges.filter(({ count }) => count > 0);
  }

  /** The elements of one parameter. */
  rangeOf(id: string): OptimizerRange {
    const { start, count, shape } = this.#entry(id);
    return { start, count, decays: shape.length > 1 };
  }

  /** Something of a parameter, in place. @throws InvariantError for moments that are not float32. */
  view(name: TrainedName, id: string): TensorView & { readonly data: Float32Array } {
    const { start, count, shape } = this.#entry(id);
    return { dtype: 'float32', shape, data: this.#data(name, start, count) };
  }

  #data(name: TrainedName, start: number, count: number): Float32Array {
    if (name === 'weight') return this.#arena.f32(this.weights + start * 4, count);
    if (name === 'gradient') return this.#arena.f32(this.gradients + start * 4, count);
    const moment = this.moments.parts(start, count).find((part) => part.name === name);
    invariant(moment?.dtype === 'F32', `${name} moments are not float32`);
    return new Float32Array(moment.data.buffer, moment.data.byteOffset, count);
  }

  /** Byte offset of the gradient of a parameter. */
  gradientOffset(id: string): number {
    return this.gradients + this.#entry(id).start * 4;
  }

  zeroGradient(id: string): void {
    this.#kernels.fill(this.gradientOffset(id), this.#entry(id).count, 0);
  }

  /** What a checkpoint holds of a parameter, in place. */
  parts(id: string): readonly TrainedPart[] {
    const { start, count } = this.#entry(id);
    const data = this.#arena.u8(this.weights + start * 4, count * 4);
    return [{ name: 'weight', dtype: 'F32', data }, ...this.moments.parts(start, count)];
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    invariant(entry !== undefined, `${id} is not trained`);
    return entry;
  }
}
