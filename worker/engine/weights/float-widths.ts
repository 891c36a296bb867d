/** Weights in 16 bits and in float32: one becomes the other inside the arena, where kernels see them. */
import { invariant } from '#core/contract/errors.ts';
import { OVERFLOW, findNotBelow } from '#worker/checkpoint/index.ts';
import type { Arena, Kernels } from '#worker/kernels/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import { isHalf, widen } from './widen.ts';

/** Widens and narrows weights. */
export class FloatWidths {
  readonly #arena: Arena;
  readonly #kernels: Kernels;

  constructor(arena: Arena, kernels: Kernels) {
    this.#arena = arena;
    this.#kernels = kernels;
  }

  /** What `work` makes of a weight in float32, which it may not keep. */
  widened<T>({ dtype, data }: TensorView, work: (values: Float32Array) => T): T {
    if (dtype === 'float32') return work(data as Float32Array);
    invariant(isHalf(dtype), 'what was rounded is no copy of the weight: that is in the checkpoint');
    const mark = this.#arena.mark();
    const wide = this.#arena.allocate(data.length * 4);
    const narrow = this.#arena.allocate(data.length * 2);
    this.#arena.u16(narrow, data.length).set(data as Uint16Array);
    widen(this.#kernels, dtype, wide.offset, narrow.offset, data.length);
    const result = work(this.#arena.f32(wide, data.length));
    this.#arena.release(mark);
    return result;
  }

  /** A weight in float16, rounded to nearest; itself where it is that already. */
  toFloat16(view: TensorView): TensorView {
    if (view.dtype === 'float16') return view;
    const { shape, data } = view;
    const mark = this.#arena.mark();
    const wide = this.#arena.allocate(data.length * 4);
    const narrow = this.#arena.allocate(data.length * 2);
    this.widened(view, (values) => this.#arena.f32(wide, data.length).set(values));
    this.#kernels.f32ToF16(narrow.offset, wide.offset, data.length);
    const words = this.#arena.u16(narrow, data.length).slice();
    this.#arena.release(mark);
    return { dtype: 'float16', shape, data: words };
  }

  /** Whether float16 has room for every value. */
  fitsFloat16(view: TensorView): boolean {
    if (view.dtype === 'float16') return true;
    return this.widened(view, (values) => findNotBelow(values, OVERFLOW.F16) < 0);
  }
}
