/** The graph IR: build, differentiate, check, print and emit computations. */
export { gradient } from './autodiff.ts';
export type { GradientOptions } from './autodiff.ts';
export { GraphBuilder } from './builder.ts';
export { evaluateDim } from './dims.ts';
export { emit } from './emit/emit.ts';
export { hash } from './hash.ts';
export { Value } from './op-def.ts';
export type { ConstantData, Dialect, Graph, GraphOutput, InputValue, Node, OpDef } from './op-def.ts';
export * as op from './ops/index.ts';
export { accumulate } from './passes/accumulate.ts';
export { toFloat64 } from './passes/to-float64.ts';
export { print } from './print.ts';
export { opTable } from './registry.ts';
export { formatShape, formatType } from './types.ts';
export type { DType, Dim, TensorType, TypedArray } from './types.ts';
export { verify } from './verify.ts';
