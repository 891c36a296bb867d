/** Running graphs on ONNX Runtime: the only folder that knows it. */
export { findAdapter, passedLine, probeBeside } from './adapter.ts';
export type { AdapterProbe, AdapterSearch, ProbeResult } from './adapter.ts';
export { DeviceMemory, DeviceTensor } from './device-tensor.ts';
export { hasExactInt8Products } from './int8-products.ts';
export { openModelFile } from './model-file.ts';
export { describePlacement, nameOperators, strayNodes, summarizePlacement } from './placement.ts';
export type { PlacedNodes } from './placement.ts';
export type { Program, Tensors } from './program.ts';
export { listProviders } from './providers.ts';
export { createRuntime } from './runtime.ts';
export type { ProviderName, Runtime } from './runtime.ts';
export { tryDevice } from './try-device.ts';
export { tensorView, zeroTensor } from './tensor-view.ts';
export type { TensorView } from './tensor-view.ts';
