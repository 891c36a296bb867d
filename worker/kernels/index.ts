/** WebAssembly SIMD kernels over one arena of memory that ONNX Runtime reads in place. */
export { Arena } from './arena.ts';
export type { ArenaBlock } from './arena.ts';
export { FLOAT8_BLOCK, createKernels } from './kernels.ts';
export type { AdamWOptions, Float8Kind, Kernels } from './kernels.ts';
