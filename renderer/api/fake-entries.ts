/** Models, data sets and runs for component tests, each with the fields given and plausible others. */
import type { DatasetEntry } from '#core/contract/dataset.ts';
import type { StepMetrics } from '#core/contract/metrics.ts';
import type { ModelEntry } from '#core/contract/model.ts';
import type { RunDetail } from '#core/contract/run.ts';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import type { DeviceInfo } from '#core/contract/settings.ts';

/** A model without problems. */
export function model(fields: Partial<ModelEntry> = {}): ModelEntry {
  return {
    id: 'model_tiny',
    name: 'tiny-moe',
    path: '/models/tiny-moe',
    family: 'olmoe',
    parameters: { total: 4_000_000, active: 1_500_000, byKind: { experts: 3_000_000, attention: 1_000_000 } },
    layers: 4,
    moeLayers: 4,
    experts: 8,
    expertsPerToken: 2,
    hiddenSize: 64,
    vocabularySize: 1000,
    dtype: 'float32',
    bytes: 16_000_000,
    shards: 1,
    tokenizer: { present: true, vocabularySize: 1000, chatTemplate: true },
    problems: [],
    addedMs: 0,
    ...fields,
  };
}

/** A data set whose columns were recognised. */
export function dataset(fields: Partial<DatasetEntry> = {}): DatasetEntry {
  return {
    id: 'data_gsm8k',
    name: 'gsm8k.jsonl',
    path: '/data/gsm8k.jsonl',
    bytes: 4_000_000,
    rows: 7473,
    fileFormat: 'jsonl',
    columns: ['question', 'answer'],
    recordFormat: 'prompt-response',
    mapping: { prompt: 'question', response: 'answer' },
    sha256: 'ab'.repeat(32),
    addedMs: 0,
    ...fields,
  };
}

/** A run of 4 layers × 8 experts. */
export function run(fields: Partial<RunDetail> = {}): RunDetail {
  return {
    id: 'run_a',
    name: 'gsm8k, full',
    state: 'running',
    method: 'full',
    modelName: 'tiny-moe',
    createdMs: 0,
    lastStep: 3,
    totalSteps: 10,
    spec: parseRunSpec({
      model: { path: '/models/tiny-moe' },
      data: { train: [{ path: '/data/gsm8k.jsonl' }] },
      method: { name: 'full' },
    }),
    facts: {
      family: 'olmoe',
      layers: 4,
      moeLayers: 4,
      moeLayerIndices: [0, 1, 2, 3],
      experts: 8,
      expertsPerToken: 2,
      trainableParameters: 4_000_000,
      totalParameters: 4_000_000,
      totalSteps: 10,
      trainRows: 100,
      validationRows: 2,
      hashes: {},
      provider: 'cpu',
      threads: 2,
      estimatedMemoryMB: 300,
    },
    checkpoints: [],
    trainedSeconds: 12,
    heartbeatAgeMs: 500,
    ...fields,
  };
}

/** One step. */
export function stepMetrics(step: number, fields: Partial<StepMetrics> = {}): StepMetrics {
  return {
    step,
    wallMs: 1000 * step,
    loss: 3 - 0.1 * step,
    learningRate: 1e-5,
    gradNorm: 1,
    tokens: 500,
    trainedTokens: 300,
    tokensPerSecond: 400,
    rssMB: 900,
    ...fields,
  };
}

/** A machine with two cores. */
export const device: DeviceInfo = {
  cpu: { model: 'Test CPU', cores: 2, instructionSets: ['AVX2'] },
  memoryMB: { total: 16_000, available: 9000 },
  diskFreeMB: 100_000,
  providers: [
    { name: 'CPU', used: true, reason: 'always available' },
    { name: 'WebGPU', used: false, reason: 'no adapter was found' },
  ],
  versions: { node: '24.0.0' },
};
