/** Golden cases: what reference implementations computed, and how this engine compares; checks of graphs and gradients. */
export { hasAdapter, hasFloat16Adapter, holdAdapter, useFloat16Adapter } from './adapter.ts';
export { fuzzConfigs, fuzzSafetensors, fuzzTokenizers } from './fuzz.ts';
export type { CaseResult } from './golden-case.ts';
export { goldenFamilyModel, hasGoldenFamilies } from './golden-families.ts';
export { checkGradient, runOnce, type CheckOptions } from './gradcheck.ts';
export { runCase } from './run-case.ts';
export { writeRandomModel } from './random-model.ts';
