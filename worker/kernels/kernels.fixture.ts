/** What tests of kernels share. */
import { Arena, createKernels } from './index.ts';

/** Lengths around the vector width, and odd ones. */
export const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 33, 1001];
const SPECIAL = [0, -0, 1, -1, NaN, Infinity, -Infinity, 1e-45, -1e-45, 1.17e-38, 3.4028235e38, -3.4e38];

/** Reproducible floats over many magnitudes, special values among them. */
export function values(n: number, seed: number, special = false): Float32Array {
  let state = seed * 2654435761 + 1;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: n }, (_, i) =>
    special && i % 5 === 3
      ? (SPECIAL[(i + seed) % SPECIAL.length] ?? 0)
      : (next() * 2 - 1) * 2 ** (next() * 12 - 6),
  );
}

/** An arena that begins at an unaligned offset, and a way to put arrays into it one after the other without gaps. */
export function setUp(align = 4) {
  const arena = new Arena();
  const kernels = createKernels(arena);
  arena.allocate(align, 1);
  const put = (data: Float32Array | Uint16Array): number => {
    const { offset } = arena.allocate(data.byteLength, data.BYTES_PER_ELEMENT);
    if (data instanceof Float32Array) arena.f32(offset, data.length).set(data);
    else arena.u16(offset, data.length).set(data);
    return offset;
  };
  return { arena, kernels, put };
}

export const map = (x: Float32Array, f: (value: number, i: number) => number): Float32Array =>
  Float32Array.from(x, f);
