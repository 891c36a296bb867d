import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  readBiasStates,
  readForcedExperts,
  writeBiasStates,
  writeForcedExperts,
  type JsonValue,
} from './index.ts';
import { temporaryFolder } from './temporary-folder.fixture.ts';

const savedAt = new Date('2026-11-22T00:00:00Z');

function jsonFile(name: string, content: JsonValue | string): string {
  const file = join(temporaryFolder(), name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

test('bias states are written in the published form and read back exactly', () => {
  const folder = temporaryFolder();
  const bias_E = Float32Array.of(0.1, -0.25, 0);
  writeBiasStates(folder, [{ layer: 1, modulePath: 'model.layers.1.mlp.gate', bias_E, updateSpeed: 0.1 }], {
    modelType: 'DeepseekV2ForCausalLM',
    moduleType: 'MoEGate',
    savedAt,
    project: { phase: 1 },
  });
  expect(JSON.parse(readFileSync(join(folder, 'moe_bias_states.json'), 'utf8'))).toEqual({
    metadata: {
      total_moe_layers: 1,
      save_timestamp: '2026-11-22T00:00:00',
      model_type: 'DeepseekV2ForCausalLM',
    },
    moe_bias_states: {
      'model.layers.1.mlp.gate': {
        bias_values: [0.10000000149011612, -0.25, 0],
        bias_update_speed: 0.1,
        num_experts: 3,
        module_type: 'MoEGate',
        device: 'cpu',
        dtype: 'torch.float32',
      },
    },
    project: { phase: 1 },
  });
  expect(readBiasStates(folder)).toEqual([
    { layer: 1, modulePath: 'model.layers.1.mlp.gate', bias_E, updateSpeed: 0.1 },
  ]);
});

test('forced experts are written in the published form and read back', () => {
  const folder = temporaryFolder();
  const layers = [{ layer: 0, modulePath: 'model.layers.0.mlp', experts: [5, 4], totalExperts: 8 }];
  writeForcedExperts(folder, layers, { savedAt });
  expect(JSON.parse(readFileSync(join(folder, 'forced_experts_records.json'), 'utf8'))).toEqual({
    metadata: { total_layers: 1, timestamp: '2026-11-22T00:00:00' },
    forced_experts_records: {
      'model.layers.0.mlp': { forced_expert_indices: [5, 4], num_forced_experts: 2, total_experts: 8 },
    },
  });
  expect(readForcedExperts(folder)).toEqual(layers);
});

test('every published variant of the forced experts file is read', () => {
  const expected = [
    { layer: 2, experts: [1] },
    { layer: 10, experts: [38, 36] },
  ];
  for (const name of ['forced_experts_records.json', 'forced_experts_mapping.json', 'forced_experts.json']) {
    for (const key of ['forced_experts_records', 'forced_experts', 'experts']) {
      const file = jsonFile(name, {
        metadata: { unknown: 1 },
        [key]: {
          'model.layers.10.mlp.gate': [38, 36],
          'model.layers.2.mlp': { forced_expert_indices: [1], extra: true },
        },
      });
      expect(readForcedExperts(file)).toMatchObject(expected);
      expect(readForcedExperts(join(file, '..'))).toMatchObject(expected);
    }
  }
});

test('a folder without the files gives undefined', () => {
  const folder = temporaryFolder();
  expect(readBiasStates(folder)).toBeUndefined();
  expect(readForcedExperts(folder)).toBeUndefined();
  expect(readForcedExperts(join(folder, 'none.json'))).toBeUndefined();
});

test('what does not fit is refused, naming file and layer', () => {
  const layer = 'model.layers.0.mlp';
  const bias = (record: JsonValue, key = layer): string =>
    jsonFile('moe_bias_states.json', { moe_bias_states: { [key]: record } });
  const forced = (record: JsonValue, key = layer): string =>
    jsonFile('forced_experts.json', { experts: { [key]: record } });
  const refused = (read: () => unknown, ...parts: string[]): void => {
    for (const part of parts) expect(read).toThrow(part);
    expect(read).toThrow(expect.objectContaining({ name: 'UserError' }));
  };
  const file = bias([]);
  refused(() => readBiasStates(file), file, layer);
  refused(() => readBiasStates(bias({ bias_values: [] })), layer);
  refused(() => readBiasStates(bias({ bias_values: [1, '2'] })), 'bias_values', layer);
  refused(() => readBiasStates(bias({ bias_values: [1, null] })), 'bias_values');
  refused(() => readBiasStates(bias({ bias_values: [1], num_experts: 2 })), 'num_experts', layer);
  refused(() => readBiasStates(bias({ bias_values: [1], bias_update_speed: 'fast' })), 'bias_update_speed');
  refused(() => readBiasStates(bias({ bias_values: [1] }, 'model.embed')), 'model.embed', 'module path');
  refused(() => readBiasStates(jsonFile('b.json', { biases: {} })), 'moe_bias_states');
  refused(() => readBiasStates(jsonFile('b.json', '{"moe_bias_states": NaN}')), 'not valid JSON');
  refused(() => readForcedExperts(jsonFile('f.json', { other: {} })), 'forced_experts_records');
  for (const record of [
    [1, 1],
    [-1],
    [0.5],
    ['1'],
    'x',
    null,
    { forced_expert_indices: [8], total_experts: 8 },
  ]) {
    refused(() => readForcedExperts(forced(record)), 'forced_expert_indices', layer);
  }
  refused(
    () => readForcedExperts(forced({ forced_expert_indices: [1], num_forced_experts: 2 })),
    'num_forced_experts',
  );
  refused(
    () => readForcedExperts(forced({ forced_expert_indices: [1], total_experts: 'all' })),
    'total_experts',
  );
  const twice = jsonFile('f.json', { experts: { [layer]: [1], [`${layer}.gate`]: [2] } });
  refused(() => readForcedExperts(twice), 'layer 0 has two');
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'moe_bias_states.json'));
  refused(() => readBiasStates(folder), 'moe_bias_states.json');
});

const golden = new URL('../../../shared/golden/methods/', import.meta.url);

test.skipIf(!existsSync(golden))(
  'files written by the published code are read (skipped where the reference files are absent)',
  () => {
    const bias = (name: string) =>
      readBiasStates(new URL(`${name}/interop/moe_bias_states.json`, golden).pathname);
    expect(bias('expert-condenser-phase2-olmoe-authors')).toMatchObject([
      { layer: 0, modulePath: 'model.layers.0.mlp', updateSpeed: 0.0078125 },
      { layer: 1 },
    ]);
    expect(bias('expert-condenser-phase2-deepseekv2-authors')?.[0]?.bias_E[0]).toBe(0.4375);
    const forced = new URL('expert-condenser-phase2-deepseekv2-authors/interop', golden).pathname;
    expect(readForcedExperts(forced)).toEqual([
      { layer: 1, modulePath: 'model.layers.1.mlp.gate', experts: [5, 4], totalExperts: 8 },
      { layer: 2, modulePath: 'model.layers.2.mlp.gate', experts: [7, 2], totalExperts: 8 },
    ]);
  },
);
