/** The two moments of AdamW in the format a run asks for, and the step that moves them. */
import type { MomentFormat } from '#core/contract/run-spec.ts';
import {
  FLOAT8_BLOCK,
  type AdamWOptions,
  type Arena,
  type ArenaBlock,
  type Float8Kind,
  type Kernels,
} from '#worker/kernels/index.ts';
import { philox } from '#worker/random/index.ts';

/** What a parameter's elements are padded to, so that no two parameters share a block. */
export const MOMENT_BLOCK = FLOAT8_BLOCK;

/** Bytes of one moment of an element; 8-bit floats share a float32 scale. */
const BYTES: Readonly<Record<MomentFormat, number>> = { float32: 4, bfloat16: 2, float8: 1 };

/** Bytes of both moments of an element, scales included. */
export function momentBytes(format: MomentFormat): number {
  return 2 * (BYTES[format] + (format === 'float8' ? 4 / FLOAT8_BLOCK : 0));
}

/** Elements widened at once: both moments of them stay in the cache of one core. */
const CHUNK = 16 * FLOAT8_BLOCK;

interface Moment {
  readonly name: 'first' | 'second';
  /** A second moment has no sign. */
  readonly kind: Float8Kind;
  readonly values: ArenaBlock;
  /** One for each block of 8-bit floats; empty in other formats. */
  readonly scales: ArenaBlock;
}

/** Bytes of what belongs to one trained parameter, as a checkpoint holds them. */
export interface TrainedPart {
  readonly name: 'weight' | 'first' | 'second' | 'firstScales' | 'secondScales';
  readonly dtype: 'F32' | 'BF16' | 'U8';
  /** A view of the arena; scales have one value a block, the others one an element. */
  readonly data: Uint8Array;
}

/**
 * Moments of so many elements, zero at first. A format of less than 32 bits is widened, moved in float32 and rounded at random
 * again, so that its mean follows the float32 moment: to the nearest, a second moment would stand still, since it moves by a
 * thousandth a step. What is drawn follows from step and element, so that a resumed run draws the same.
 */
export class Moments {
  readonly #format: MomentFormat;
  readonly #arena: Arena;
  readonly #kernels: Kernels;
  readonly #moments: readonly [Moment, Moment];
  #hasStepped = false;

  /** @param elements a multiple of `MOMENT_BLOCK`. */
  constructor(format: MomentFormat, elements: number, arena: Arena, kernels: Kernels) {
    this.#format = format;
    this.#arena = arena;
    this.#kernels = kernels;
    const moment = (name: Moment['name'], kind: Float8Kind): Moment => ({
      name,
      kind,
      values: arena.allocateZeros(elements * BYTES[format]),
      scales: arena.allocateZeros(format === 'float8' ? (4 * elements) / FLOAT8_BLOCK : 0),
    });
    this.#moments = [moment('first', 'signed8'), moment('second', 'unsigned8')];
  }

  /**
   * One AdamW step over elements `start` to `start + count`, both multiples of `MOMENT_BLOCK`.
   * @param weights byte offset of the weight of element 0; `gradients` likewise.
   */
  adamw(weights: number, gradients: number, start: number, count: number, options: AdamWOptions): void {
    const [first, second] = this.#moments;
    if (!this.#hasStepped) for (const { values } of this.#moments) this.#arena.touch(values);
    this.#hasStepped = true;
    const step = (at: number, n: number, m: number, v: number) =>
      this.#kernels.adamw(weights + 4 * at, gradients + 4 * at, m, v, n, options);
    if (this.#format === 'float32') {
      step(start, count, first.values.offset + 4 * start, second.values.offset + 4 * start);
      return;
    }
    const mark = this.#arena.mark();
    const [m, v] = [this.#arena.allocate(4 * CHUNK).offset, this.#arena.allocate(4 * CHUNK).offset];
    const [firstKey, secondKey] = philox(options.step, 0, 0);
    for (let at = start; at < start + count; at += CHUNK) {
      const n = Math.min(CHUNK, start + count - at);
      this.#widen(first, m, at, n);
      this.#widen(second, v, at, n);
      step(at, n, m, v);
      this.#round(first, m, at, n, firstKey);
      this.#round(second, v, at, n, secondKey);
    }
    this.#arena.release(mark);
  }

  #widen({ kind, values, scales }: Moment, target: number, at: number, n: number): void {
    if (this.#format === 'bfloat16') this.#kernels.bf16ToF32(target, values.offset + 2 * at, n);
    else this.#kernels.float8ToF32(kind, target, values.offset + at, scaleAt(scales, at), n);
  }

  #round({ kind, values, scales }: Moment, source: number, at: number, n: number, key: number): void {
    const noise = { key, first: at };
    if (this.#format === 'bfloat16')
      this.#kernels.f32ToBf16AtRandom(values.offset + 2 * at, source, n, noise);
    else this.#kernels.f32ToFloat8(kind, values.offset + at, scaleAt(scales, at), source, n, noise);
  }

  /** What a checkpoint holds of elements `start` to `start + count`; `start` is a multiple of `MOMENT_BLOCK`. */
  parts(start: number, count: number): readonly TrainedPart[] {
    const dtype = { float32: 'F32', bfloat16: 'BF16', float8: 'U8' } as const;
    const bytes = BYTES[this.#format];
    return this.#moments.flatMap(({ name, values, scales }) => [
      {
        name,
        dtype: dtype[this.#format],
        data: this.#arena.u8(values.offset + bytes * start, bytes * count),
      },
      ...(scales.bytes === 0
        ? []
        : [
            {
              name: `${name}Scales` as const,
              dtype: 'F32' as const,
              data: this.#arena.u8(scaleAt(scales, start), 4 * Math.ceil(count / FLOAT8_BLOCK)),
            },
          ]),
    ]);
  }
}

/** Byte offset of the scale of the block that begins with element `at`. */
function scaleAt(scales: ArenaBlock, at: number): number {
  return scales.offset + (4 * at) / FLOAT8_BLOCK;
}
