/** The graph IR: build, differentiate, check, print and emit computations. */
export { gradient } from './autodiff.ts';
export { GraphBuilder } from './builder.ts';
export { evaluateDim } from './dims.ts';
export { emit } from './emit/emit.ts';
export type { ExternalData } from './emit/model-proto.ts';
export { hash } from './hash.ts';
export { inline } from './inline.ts';
export { Value } from './op-def.ts';
export type { Dialect, Graph, InputValue } from './op-def.ts';
export * as op from './ops/index.ts';
export { accumulate } from './passes/accumulate.ts';
export { joinRows } from './passes/join-rows.ts';
export { toFloat64 } from './passes/to-float64.ts';
export { print } from './print.ts';
export { resume } from './resume.ts';
export { opTable } from './registry.ts';
export type { DType, Dim, TypedArray } from './types.ts';
export { verify } from './verify.ts';
