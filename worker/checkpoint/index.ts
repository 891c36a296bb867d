/** Reading and writing what lies on disk: models, resumable checkpoints, exports and router bias files. */
export { readBiasStates, readForcedExperts, writeBiasStates, writeForcedExperts } from './bias-files.ts';
export type { BiasFileOptions, LayerBias, LayerForcedExperts } from './bias-files.ts';
export { DTYPE_BYTES, decodeFloats, encodeFloats, isFloatDtype } from './dtype.ts';
export type { Dtype, FloatDtype } from './dtype.ts';
export { exportHfFolder } from './export.ts';
export type { ExportRequest, TrainedTensor } from './export.ts';
export type { FileDigest, WritableFileSystem } from './file-system.ts';
export type { JsonObject, JsonValue } from './json-file.ts';
export { ModelFolder, openModelFolder } from './model-folder.ts';
export { findNonFinite } from './non-finite.ts';
export type { NonFinite } from './non-finite.ts';
export { SafetensorsFile, readSafetensors, writeSafetensors } from './safetensors.ts';
export type { NamedTensor, TensorSource, WriteOptions } from './safetensors.ts';
export { tensorBytes } from './safetensors-header.ts';
export type { TensorEntry, TensorInfo } from './safetensors-header.ts';
export { listCheckpoints, openCheckpoint, openLatestCheckpoint, saveCheckpoint } from './trainer-state.ts';
export type { DamagedCheckpoint, OpenCheckpoint, SaveRequest, SavedCheckpoint } from './trainer-state.ts';
