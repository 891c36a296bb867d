/** The functions that apply the operations to values. */
export { add, div, maximum, minimum, mul, sub } from './arithmetic.ts';
export { addRows, gather, gatherElements, nonZero, oneHot, scatterElements, topK } from './indexing.ts';
export { dequantizeRows, int8Matmul } from './int8.ts';
export { concat, slice, split, transpose } from './layout.ts';
export { gemm, matmul } from './linear.ts';
export { crossEntropyRows } from './loss.ts';
export { layerNorm, rmsNorm } from './norm.ts';
export { count, logSoftmax, logSumExp, reduceMax, reduceMean, sizeOf, softmax } from './reduce.ts';
export { rotary } from './rotary.ts';
export {
  and,
  cast,
  equal,
  greater,
  greaterOrEqual,
  less,
  lessOrEqual,
  not,
  or,
  stopGradient,
  where,
} from './select.ts';
export { expand, reduceSum, reshape, squeeze, unsqueeze } from './shape.ts';
export {
  abs,
  clip,
  cos,
  erf,
  exp,
  gelu,
  log,
  neg,
  pow,
  reciprocal,
  relu,
  sigmoid,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  tanh,
} from './unary.ts';
