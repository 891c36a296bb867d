import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { encodeFloats, writeSafetensors, type NamedTensor } from '#worker/checkpoint/index.ts';
import { writeAdapters } from '#worker/export/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { readAdapters } from './adapter-names.ts';

const config = {
  model_type: 'olmoe',
  vocab_size: 4,
  hidden_size: 2,
  intermediate_size: 2,
  num_hidden_layers: 2,
  num_attention_heads: 1,
  num_experts: 2,
  num_experts_per_tok: 1,
};
const family = familyOf(config);
const plan = family.plan(config);
const dir = mkdtempSync(join(tmpdir(), 'condenser-adapters-'));
afterAll(() => rmSync(dir, { recursive: true }));

const tensor = (module: string, part: string, ...shape: readonly number[]): NamedTensor => ({
  name: `base_model.model.${module}.${part}`,
  dtype: 'F32',
  shape,
  data: encodeFloats(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
    'F32',
  ),
});
const query = (layer: number, ...more: readonly NamedTensor[]) => [
  tensor(`model.layers.${layer}.self_attn.q_proj`, 'lora_A.weight', 3, 2),
  tensor(`model.layers.${layer}.self_attn.q_proj`, 'lora_B.weight', 2, 3),
  ...more,
];

/** Writes an adapter folder and reads it. */
function read(settings: Record<string, unknown>, tensors: readonly NamedTensor[]) {
  const document = { peft_type: 'LORA', r: 3, lora_alpha: 6, ...settings };
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(document));
  writeSafetensors(join(dir, 'adapter_model.safetensors'), tensors);
  return readAdapters(dir, family, plan);
}

function refusal(settings: Record<string, unknown>, tensors: readonly NamedTensor[]): UserError {
  try {
    read(settings, tensors);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const both = [...query(0), ...query(1)];

test('rank, scale and weights come from the folder', () => {
  const { plan: adapters, values } = read({ use_rslora: true, lora_dropout: 0.05 }, both);
  expect(adapters).toEqual({
    kind: 'low-rank',
    roles: new Map([['query', { rank: 3, alpha: 6 }]]),
    rankStabilised: true,
    magnitude: false,
    dropout: 0.05,
  });
  expect([...values.keys()]).toEqual(
    [0, 1].flatMap((l) => [`layers.${l}.query.loraA`, `layers.${l}.query.loraB`]),
  );
  expect([...(values.get('layers.1.query.loraB') ?? [])]).toEqual([1, 2, 3, 4, 5, 6]);
});

test('magnitudes are read under both names', () => {
  const name = (suffix: string) =>
    [0, 1].flatMap((l) => query(l, tensor(`model.layers.${l}.self_attn.q_proj`, suffix, 2)));
  for (const suffix of ['lora_magnitude_vector', 'lora_magnitude_vector.weight']) {
    const { values } = read({ use_dora: true }, name(suffix));
    expect([...(values.get('layers.0.query.magnitude') ?? [])]).toEqual([1, 2]);
  }
});

test.each([
  ['adapters of some layers only', {}, query(0), 'no loraA for it', 'layers.1.query'],
  ['a module of another model', {}, [...both, tensor('lm_head', 'lora_A.weight', 3, 2)], 'lm_head', ''],
  ['a rank that the tensors do not have', { r: 2 }, both, 'F32 3 × 2', '2 × 2'],
  ['a rank by layer', { rank_pattern: { 'layers.1.self_attn.q_proj': 8 } }, both, 'has rank 8', 'weights 3'],
  ['a pattern that is none', { alpha_pattern: { '(q_proj': 8 } }, both, '(q_proj', 'regular expression'],
  ['modules trained besides', { modules_to_save: ['lm_head'] }, both, 'modules_to_save', ''],
  ['biases trained besides', { bias: 'all' }, both, 'bias', ''],
  ['another kind of adapter', { peft_type: 'IA3' }, both, 'peft_type', 'LORA'],
])('%s: refused by name', (_what, settings, tensors, said, also) => {
  const { code, message } = refusal(settings, tensors);
  expect(code).toMatch(/^adapter-file\//);
  expect(message).toContain(said);
  expect(message).toContain(also);
});

test('dropout, and ranks and alphas by module, are read and written back', async () => {
  const module = (l: number, name: string, rank: number) => [
    tensor(`model.layers.${l}.self_attn.${name}`, 'lora_A.weight', rank, 2),
    tensor(`model.layers.${l}.self_attn.${name}`, 'lora_B.weight', 2, rank),
  ];
  const experts = [0, 1].flatMap((l) =>
    [0, 1].flatMap((e) => [
      tensor(`model.layers.${l}.mlp.experts.${e}.down_proj`, 'lora_A.weight', 1, 2),
      tensor(`model.layers.${l}.mlp.experts.${e}.down_proj`, 'lora_B.weight', 2, 1),
    ]),
  );
  const given = read(
    {
      rank_pattern: { '.*\\.experts\\.[0-9]+\\.down_proj': 1, k_proj: 2, proj: 9 },
      alpha_pattern: { k_proj: 1.5 },
      lora_dropout: 0.1,
    },
    [...both, ...[0, 1].flatMap((l) => module(l, 'k_proj', 2)), ...experts],
  );
  const { plan: adapters, values } = given;
  expect(Object.fromEntries(adapters.roles)).toEqual({
    query: { rank: 3, alpha: 6 },
    key: { rank: 2, alpha: 1.5 },
    expertDown: { rank: 1, alpha: 6 },
  });
  const out = join(dir, 'written');
  const trained = {
    family,
    plan,
    adapters,
    base: 'base',
    read: (id: string) => values.get(id) ?? new Float32Array(),
  };
  await writeAdapters(trained, out, 'F32', new Map());
  expect(JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8'))).toMatchObject({
    r: 3,
    lora_alpha: 6,
    rank_pattern: { k_proj: 2, down_proj: 1 },
    alpha_pattern: { k_proj: 1.5 },
    lora_dropout: 0.1,
    target_modules: ['down_proj', 'k_proj', 'q_proj'],
  });
  expect(readAdapters(out, family, plan)).toEqual(given);
});

test('what PEFT writes where nothing is chosen is accepted', () => {
  const settings = { rank_pattern: {}, alpha_pattern: {}, modules_to_save: null, lora_bias: false };
  expect(read({ ...settings, layer_replication: null, bias: 'none' }, both).values.size).toBe(4);
});
