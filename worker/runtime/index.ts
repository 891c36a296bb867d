/** Running graphs on ONNX Runtime: the only folder that knows it. */
export type { Program, Tensors } from './program.ts';
export { listProviders } from './providers.ts';
export { createRuntime } from './runtime.ts';
export type { Runtime } from './runtime.ts';
export { tensorView, zeroTensor } from './tensor-view.ts';
export type { TensorView } from './tensor-view.ts';
