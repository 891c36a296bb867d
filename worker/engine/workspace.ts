/** Views of arena memory for one micro-batch, taken and given back in stack order. */
import { invariant } from '#core/contract/errors.ts';
import type { Arena, ArenaBlock } from '#worker/kernels/index.ts';
import type { TensorView } from '#worker/runtime/index.ts';
import { elementCount } from '#worker/model/index.ts';

/** A float32 tensor in the arena, with its place. */
export interface ArenaTensor extends TensorView {
  readonly data: Float32Array;
  /** Bytes from the start of the arena. */
  readonly offset: number;
}

/** Hands out tensors over an arena. */
export class Workspace {
  readonly arena: Arena;

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** A new float32 tensor with whatever was there before. */
  tensor(...shape: readonly number[]): ArenaTensor {
    const count = elementCount(shape);
    const block = this.arena.allocate(count * 4);
    return { dtype: 'float32', shape, data: this.arena.f32(block, count), offset: block.offset };
  }

  /** A tensor in memory that is there already. */
  at({ offset, bytes }: ArenaBlock, ...shape: readonly number[]): ArenaTensor {
    const count = elementCount(shape);
    invariant(count * 4 <= bytes, `${count} float32 elements in ${bytes} bytes`);
    return { dtype: 'float32', shape, data: this.arena.f32(offset, count), offset };
  }

  /** A new float32 tensor of zeros. */
  zeros(...shape: readonly number[]): ArenaTensor {
    const tensor = this.tensor(...shape);
    tensor.data.fill(0);
    return tensor;
  }

  /** A new int64 tensor. */
  integers(values: ArrayLike<number>, ...shape: readonly number[]): TensorView {
    const data = this.arena.i64(this.arena.allocate(values.length * 8), values.length);
    for (let i = 0; i < values.length; i++) data[i] = BigInt(values[i] as number);
    return { dtype: 'int64', shape, data };
  }

  /** Rows `[from, to)` of a matrix, in place. */
  rows(matrix: ArenaTensor, from: number, to: number): ArenaTensor {
    const width = elementCount(matrix.shape.slice(1));
    const offset = matrix.offset + from * width * 4;
    return {
      dtype: 'float32',
      shape: [to - from, ...matrix.shape.slice(1)],
      data: this.arena.f32(offset, (to - from) * width),
      offset,
    };
  }

  /** Runs `work` and takes back everything it allocated. */
  async scratch<T>(work: () => Promise<T> | T): Promise<T> {
    const mark = this.arena.mark();
    try {
      return await work();
    } finally {
      this.arena.release(mark);
    }
  }
}
