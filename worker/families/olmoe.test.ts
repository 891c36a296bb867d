import { expect, test } from 'vitest';
import { parametersOf } from '#worker/model/index.ts';
import { familyOf } from './index.ts';
import { olmoe } from './olmoe.ts';

/** The published layout. */
const config = {
  model_type: 'olmoe',
  vocab_size: 50304,
  hidden_size: 2048,
  intermediate_size: 1024,
  num_hidden_layers: 16,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  num_experts: 64,
  num_experts_per_tok: 8,
  norm_topk_prob: false,
  rms_norm_eps: 1e-5,
  rope_theta: 10000.0,
  rope_scaling: null,
  clip_qkv: null,
  max_position_embeddings: 4096,
  eos_token_id: 50279,
  pad_token_id: 1,
  router_aux_loss_coef: 0.01,
  tie_word_embeddings: false,
};

test('the published config', () => {
  const plan = olmoe.plan(config);
  expect(plan).toMatchObject({
    hiddenSize: 2048,
    paddingId: 1,
    endIds: [50279],
    publishedAuxCoefficient: 0.01,
  });
  expect(plan.layers).toHaveLength(16);
  expect(plan.layers[0]?.feedForward).toMatchObject({ experts: 64, expertsPerToken: 8, intermediate: 1024 });
  expect(plan.layers[0]?.attention).toMatchObject({ heads: 16, keyValueHeads: 16, headDim: 128, clip: null });
  const total = parametersOf(plan).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  expect(total).toBe(6_919_161_856);
});

test('a config saved again by a newer library means the same', () => {
  const saved = {
    ...config,
    rope_theta: undefined,
    rope_scaling: undefined,
    rope_parameters: { rope_type: 'default', rope_theta: 10000.0 },
  };
  expect(olmoe.plan(saved)).toEqual(olmoe.plan(config));
});

test('defaults of absent fields', () => {
  const absent = { num_key_value_heads: undefined, pad_token_id: undefined, eos_token_id: undefined };
  const plan = olmoe.plan({ ...config, ...absent, clip_qkv: 8 });
  expect(plan.layers[0]?.attention).toMatchObject({ keyValueHeads: 16, clip: 8 });
  expect(plan).toMatchObject({ paddingId: null, endIds: [] });
});

test.each([
  [{ hidden_size: undefined }, 'hidden_size'],
  [{ hidden_size: 2050 }, 'hidden_size must be a multiple of num_attention_heads'],
  [{ num_key_value_heads: 5 }, 'num_attention_heads must be a multiple of num_key_value_heads'],
  [{ num_experts_per_tok: 65 }, 'num_experts_per_tok must not exceed num_experts'],
  [{ hidden_act: 'mish' }, 'hidden_act'],
  [{ rope_scaling: { rope_type: 'ntk' } }, 'rope_scaling.rope_type "ntk" is not supported'],
  [{ rope_scaling: { rope_type: 'yarn' } }, 'needs factor'],
])('%j is refused', (change, message) => {
  expect(() => olmoe.plan({ ...config, ...change })).toThrow(message);
});

test('places of experts on disk, one tensor each or all of a layer in one', () => {
  const plan = olmoe.plan(config);
  const placesOf = (id: string) => {
    const parameter = parametersOf(plan).find((candidate) => candidate.id === id);
    return parameter === undefined ? [] : olmoe.stored(parameter, plan);
  };
  expect(placesOf('layers.3.experts.5.expertUp')).toEqual([
    { name: 'model.layers.3.mlp.experts.5.up_proj.weight' },
    { name: 'model.layers.3.mlp.experts.gate_up_proj', block: { index: 5, fromRow: 1024 } },
  ]);
  expect(placesOf('layers.0.experts.1.expertDown')[1]).toEqual({
    name: 'model.layers.0.mlp.experts.down_proj',
    block: { index: 1, fromRow: 0 },
  });
  expect(placesOf('head')).toEqual([{ name: 'lm_head.weight' }]);
});

test('every parameter has a place of its own', () => {
  const plan = olmoe.plan({ ...config, num_hidden_layers: 2 });
  const names = parametersOf(plan).map((parameter) => olmoe.stored(parameter, plan)[0]?.name);
  expect(new Set(names).size).toBe(names.length);
});

test('an unknown family names the known ones', () => {
  expect(() => familyOf({ model_type: 'gemma' })).toThrow(
    expect.objectContaining({
      code: 'config/unknown-family',
      message: expect.stringContaining('"gemma"') as string,
    }),
  );
  expect(() => familyOf({})).toThrow('model_type is missing');
});
