/** What leaves a run: folders, deltas, adapters, ONNX files, and how far they are from it. */
export { exportRun, refusedFormats } from './export-run.ts';
export { mergeAdapters } from './merge-adapters.ts';
export { writeAdapters } from './write-adapters.ts';
export { type ChangedModel, placeOf, storedValues, writeModel } from './write-model.ts';
export { writeOnnx } from './write-onnx.ts';
