/** Reading and writing what lies on disk: models, resumable checkpoints, exports and router bias files. */
export { AdapterFolder, adapterTensorName, writeAdapterFolder } from './adapter-files.ts';
export type { AdapterConfig } from './adapter-files.ts';
export { readBiasStates, readForcedExperts, writeBiasStates, writeForcedExperts } from './bias-files.ts';
export type { BiasFileOptions, LayerBias, LayerForcedExperts } from './bias-files.ts';
export {
  DTYPE_BYTES,
  OVERFLOW,
  STORED_DTYPES,
  decodeFloats,
  encodeFloats,
  findNotBelow,
  isFloatDtype,
} from './dtype.ts';
export type { Dtype, FloatDtype } from './dtype.ts';
export { readExpertConfig, readExpertScores, writeExpertConfig, writeExpertScores } from './expert-files.ts';
export type { ExpertConfigFile, ExpertScoresFile } from './expert-files.ts';
export { exportHfFolder } from './export.ts';
export type { HfFolderRequest, TrainedTensor } from './export.ts';
export { encodeFinite, partialFolder, writeNewFolder } from './export-folder.ts';
export type { FolderOptions, NewFolder } from './export-folder.ts';
export { digestFile, writeError } from './file-system.ts';
export type { FileDigest, WritableFileSystem } from './file-system.ts';
export type { JsonObject, JsonValue } from './json-file.ts';
export { ADDITIONS_FILE, ModelFolder, openModelFolder } from './model-folder.ts';
export { findNonFinite } from './non-finite.ts';
export { writeOnnxFolder } from './onnx-folder.ts';
export type { OnnxTensor } from './onnx-folder.ts';
export type { NonFinite } from './non-finite.ts';
export { SafetensorsFile, readSafetensors, writeSafetensors } from './safetensors.ts';
export type { NamedTensor, TensorSource, WriteOptions } from './safetensors.ts';
export { tensorBytes } from './safetensors-header.ts';
export type { TensorEntry, TensorInfo } from './safetensors-header.ts';
export { listCheckpoints, openCheckpoint, openLatestCheckpoint, saveCheckpoint } from './trainer-state.ts';
export type { DamagedCheckpoint, OpenCheckpoint, SaveRequest, SavedCheckpoint } from './trainer-state.ts';
