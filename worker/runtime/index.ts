/** Running graphs on ONNX Runtime: the only folder that knows it. */
export type { Program, Tensors } from './program.ts';
export { listProviders } from './providers.ts';
export type { Provider } from './providers.ts';
export { createRuntime } from './runtime.ts';
export type { CompileOptions, Runtime, RuntimeOptions } from './runtime.ts';
export { tensorView, zeroTensor } from './tensor-view.ts';
export type { TensorView } from './tensor-view.ts';
