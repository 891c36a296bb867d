import { UserError, invariant } from '#core/contract/errors.ts';
import { WebAssembly, type Memory64 } from './web-assembly.ts';

const PAGE = 65536;
/** The smallest page of the systems this runs on. */
const SYSTEM_PAGE = 4096;

/**
 * Space left before each block of a megabyte or more. Arrays walked side by side must not lie a large power of two
 * apart: all of them would then hit the same memory bank at once. AdamW over four arrays exactly 128 MiB apart ran at
 * 190-240 Mparam/s, with 1 KiB more between them at 600-780 (2-core EPYC).
 */
const LARGE_BLOCK = 2 ** 20;
const LARGE_BLOCK_GAP = 1088;

/** The most one WebAssembly memory can hold: 16 GiB, a limit of the WebAssembly JavaScript API. */
const MAXIMUM_ARENA_BYTES = 2 ** 34;

/** A piece of an arena. `offset` is in bytes from the start of the arena. */
export interface ArenaBlock {
  readonly offset: number;
  readonly bytes: number;
}

/** Where a view starts: a block, or a byte offset. */
export type ArenaPlace = ArenaBlock | number;

/**
 * One memory for everything the kernels touch: weights, gradients, optimizer moments.
 *
 * It is a shared, 64-bit WebAssembly memory. Shared, because growing such a memory leaves every view made before
 * valid (growing an ordinary one detaches them all, among them tensors that ONNX Runtime holds), and because
 * further threads can work on it. ONNX Runtime takes typed arrays over a SharedArrayBuffer as inputs and outputs.
 *
 * It starts small and grows as blocks are allocated; only address space is reserved for the maximum. Measured on
 * Linux with Node 24: creating one with a 16 GiB maximum 0.1 ms, growing it by 8 GiB 0.1 ms, and pages never
 * written cost no resident memory (+0.2 MB for 8 GiB). Growing on demand, and not starting at the full size,
 * also keeps the memory the system must promise (Windows, Linux with strict overcommit) to what is in use.
 *
 * Blocks are handed out as from a stack: `mark()` and `release(mark)` bracket scratch space.
 */
export class Arena {
  readonly memory: Memory64;
  readonly maximumBytes: number;
  #used = 0;
  /** The most that was ever in use: memory above is as the system gave it, all zeros. */
  #highest = 0;

  /**
   * @param options.initialBytes size to start with, default one page (64 KiB).
   * @param options.maximumBytes size never exceeded, default and at most 16 GiB.
   * @throws UserError `memory/arena-full` when the system refuses the initial size.
   */
  constructor(options: { readonly initialBytes?: number; readonly maximumBytes?: number } = {}) {
    const { initialBytes = PAGE, maximumBytes = MAXIMUM_ARENA_BYTES } = options;
    invariant(
      initialBytes >= 0 && initialBytes <= maximumBytes && maximumBytes <= MAXIMUM_ARENA_BYTES,
      `arena: sizes must satisfy 0 <= ${initialBytes} <= ${maximumBytes} <= ${MAXIMUM_ARENA_BYTES}`,
    );
    this.maximumBytes = maximumBytes;
    const initial = BigInt(Math.ceil(initialBytes / PAGE));
    const maximum = BigInt(Math.ceil(maximumBytes / PAGE));
    try {
      this.memory = new WebAssembly.Memory({ address: 'i64', initial, maximum, shared: true });
    } catch (cause) {
      throw outOfMemory(initialBytes, maximumBytes, cause);
    }
  }

  /** Bytes handed out and not released, gaps included. */
  get bytesUsed(): number {
    return this.#used;
  }

  /** Bytes the memory has grown to. Never shrinks. */
  get bytesCommitted(): number {
    return this.memory.buffer.byteLength;
  }

  /**
   * Hands out `bytes` bytes at a multiple of `align` (a power of two; 64 is a cache line and the widest vector).
   * Fresh memory is zero; memory used before and released keeps its old content.
   * @throws UserError `memory/arena-full` when the maximum is reached or the system has no more memory.
   */
  allocate(bytes: number, align = 64): ArenaBlock {
    invariant(Number.isSafeInteger(bytes) && bytes >= 0, () => `arena: cannot allocate ${bytes} bytes`);
    invariant(
      align > 0 && Number.isInteger(Math.log2(align)),
      () => `arena: alignment ${align} is no power of two`,
    );
    const gap = bytes < LARGE_BLOCK ? 0 : LARGE_BLOCK_GAP;
    const offset = Math.ceil((this.#used + gap) / align) * align;
    const end = offset + bytes;
    if (end > this.maximumBytes) throw outOfMemory(end, this.maximumBytes);
    const missing = Math.ceil((end - this.bytesCommitted) / PAGE);
    if (missing > 0) {
      try {
        this.memory.grow(BigInt(missing));
      } catch (cause) {
        throw outOfMemory(end, this.maximumBytes, cause);
      }
    }
    this.#used = end;
    this.#highest = Math.max(this.#highest, end);
    return { offset, bytes };
  }

  /** Like `allocate`, all zeros. Memory never used before is not touched. */
  allocateZeros(bytes: number): ArenaBlock {
    const used = this.#highest;
    const block = this.allocate(bytes);
    const dirty = Math.min(bytes, used - block.offset);
    if (dirty > 0) this.u8(block, dirty).fill(0);
    return block;
  }

  /**
   * Has the system provide the pages of a block now, whose values stay. One thread does that in 0.2 s for 512 MB; two that come upon
   * fresh pages at once hold each other up, and AdamW's first step over that much took 1.0 s (2-core EPYC, virtual machine).
   */
  touch({ offset, bytes }: ArenaBlock): void {
    const words = this.i32(offset, Math.floor(bytes / 4));
    for (let at = 0; at < words.length; at += SYSTEM_PAGE / 4) Atomics.add(words, at, 0);
  }

  /** The present height of the stack, for `release`. */
  mark(): number {
    return this.#used;
  }

  /** Takes back everything allocated since `mark()` returned `mark`. Views into it must not be used any more. */
  release(mark: number): void {
    invariant(mark >= 0 && mark <= this.#used, `arena: mark ${mark} is above the height ${this.#used}`);
    this.#used = mark;
  }

  /** A view of `length` 32-bit floats. The offset must be a multiple of 4. */
  f32(place: ArenaPlace, length: number): Float32Array<SharedArrayBuffer> {
    return new Float32Array(this.memory.buffer, this.#locate(place, length, 4), length);
  }

  /** A view of `length` 16-bit words (bf16 or fp16 bits). The offset must be a multiple of 2. */
  u16(place: ArenaPlace, length: number): Uint16Array<SharedArrayBuffer> {
    return new Uint16Array(this.memory.buffer, this.#locate(place, length, 2), length);
  }

  /** A view of `length` bytes. */
  u8(place: ArenaPlace, length: number): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.memory.buffer, this.#locate(place, length, 1), length);
  }

  /** A view of `length` 32-bit integers. The offset must be a multiple of 4. */
  i32(place: ArenaPlace, length: number): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.memory.buffer, this.#locate(place, length, 4), length);
  }

  /** A view of `length` 64-bit integers. The offset must be a multiple of 8. */
  i64(place: ArenaPlace, length: number): BigInt64Array<SharedArrayBuffer> {
    return new BigInt64Array(this.memory.buffer, this.#locate(place, length, 8), length);
  }

  /** Checks that `length` elements at `place` lie inside the block, or inside what is allocated; returns the offset. */
  #locate(place: ArenaPlace, length: number, elementBytes: number): number {
    const offset = typeof place === 'number' ? place : place.offset;
    const end = typeof place === 'number' ? this.#used : place.offset + place.bytes;
    this.check(offset, length * elementBytes, 'view', end);
    return offset;
  }

  /** Asserts that a range lies inside what is allocated (or before `end`); `what` names the caller. */
  check(offset: number, bytes: number, what: string, end = this.#used): void {
    invariant(
      Number.isSafeInteger(offset) && Number.isSafeInteger(bytes) && offset >= 0 && bytes >= 0,
      () => `${what}: offset ${offset} and size ${bytes} must be non-negative integers`,
    );
    invariant(
      offset + bytes <= end && end <= this.#used,
      () => `${what}: bytes ${offset} to ${offset + bytes} reach past ${Math.min(end, this.#used)}`,
    );
  }
}

function outOfMemory(needed: number, maximum: number, cause?: unknown): UserError {
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  return cause === undefined
    ? new UserError(
        'memory/arena-full',
        `The trained weights with their gradients and optimizer state need ${gib(needed)}; at most ${gib(maximum)} are available to them.`,
        'Train fewer parameters (fewer experts or layers, or adapters), or use a smaller model.',
      )
    : new UserError(
        'memory/arena-full',
        `The system refused ${gib(needed)} of memory for weights and optimizer state.`,
        'Close other programs, train fewer parameters, or use a machine with more memory.',
        { cause },
      );
}
