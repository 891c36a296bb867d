import { expect, test } from 'vitest';
import {
  activeParameterCount,
  checkPositions,
  elementCount,
  moeLayerIndices,
  parametersOf,
} from '#worker/model/index.ts';
import { familyOf } from './index.ts';

const base = {
  vocab_size: 64,
  hidden_size: 32,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 48,
  moe_intermediate_size: 16,
  num_experts_per_tok: 2,
  rope_theta: 10000,
};
const latent = {
  q_lora_rank: null,
  kv_lora_rank: 8,
  qk_nope_head_dim: 8,
  qk_rope_head_dim: 4,
  v_head_dim: 6,
};
const windows = {
  sliding_window: 8,
  layer_types: ['sliding_attention', 'sliding_attention', 'full_attention'],
};

/** The smallest config of each family. */
const configs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  olmoe: { num_experts: 8 },
  qwen2_moe: { num_experts: 8, shared_expert_intermediate_size: 20 },
  qwen3_moe: { num_experts: 8, head_dim: 12 },
  mixtral: { num_local_experts: 8 },
  llama: {},
  qwen2: {},
  qwen3: {},
  granitemoe: { num_local_experts: 8 },
  granitemoeshared: { num_local_experts: 8, shared_intermediate_size: 20 },
  mellum: { num_experts: 8, ...windows },
  dots1: { n_routed_experts: 8, n_shared_experts: 2, first_k_dense_replace: 1 },
  glm4_moe: { n_routed_experts: 8, n_shared_experts: 1, first_k_dense_replace: 1 },
  hunyuan_v1_moe: { num_experts: 8, moe_topk: [1, 2, 2] },
  minimax_m2: { num_local_experts: 8, rotary_dim: 4 },
  flex_olmo: { num_experts: 8 },
  ernie4_5_moe: { moe_num_experts: 8, moe_k: 2, moe_num_shared_experts: 2, moe_layer_start_index: 1 },
  hy_v3: { num_experts: 8, num_shared_experts: 1, first_k_dense_replace: 1 },
  solar_open: { n_routed_experts: 8, n_shared_experts: 1 },
  exaone_moe: { num_experts: 8, num_shared_experts: 1, first_k_dense_replace: 1, ...windows },
  deepseek_v2: { n_routed_experts: 8, n_shared_experts: 2, first_k_dense_replace: 1, ...latent },
  deepseek_v3: { n_routed_experts: 8, n_shared_experts: 1, ...latent, q_lora_rank: 12 },
  glm4_moe_lite: { n_routed_experts: 8, n_shared_experts: 1, ...latent, q_lora_rank: 12 },
  gpt_oss: { num_local_experts: 8, ...windows },
  afmoe: { num_experts: 8, num_shared_experts: 1, ...windows },
  laguna: { num_experts: 8, shared_expert_intermediate_size: 12, ...windows },
  mimo_v2_flash: { n_routed_experts: 8, v_head_dim: 6, attention_value_scale: 0.7, ...windows },
  phimoe: { num_local_experts: 8, attention_bias: true, lm_head_bias: true },
  lfm2_moe: {
    num_experts: 8,
    num_dense_layers: 1,
    layer_types: ['conv', 'full_attention', 'conv'],
  },
  cohere2_moe: { num_experts: 8, ...windows },
};
const planOf = (name: string, change: Readonly<Record<string, unknown>> = {}) => {
  const config = { ...base, ...configs[name], model_type: name, ...change };
  return familyOf(config).plan(config);
};
const names = Object.keys(configs);

/** What `attention_bias` gives a family: biases of all four maps unless it is listed here. */
const otherBiases: Readonly<Record<string, string | false>> = {
  qwen2: 'query-key-value',
  qwen2_moe: 'query-key-value',
  glm4_moe: 'query-key-value',
  solar_open: 'query-key-value',
  mimo_v2_flash: 'query-key-value',
  mixtral: false,
  minimax_m2: false,
  lfm2_moe: false,
  ernie4_5_moe: false,
  exaone_moe: false,
};
const isLatent = (name: string) => 'kv_lora_rank' in (configs[name] ?? {});

test.each(names)('%s: attention_bias means what it means in its library', (name) => {
  const { layers } = planOf(name, { attention_bias: true });
  const biases = layers.map(({ attention }) => 'biases' in attention && attention.biases);
  expect(new Set(biases)).toEqual(new Set([isLatent(name) || (otherBiases[name] ?? 'all')]));
});

test.each(names)('%s: every parameter has a place of its own', (name) => {
  const plan = planOf(name);
  const family = familyOf({ model_type: name });
  const places = parametersOf(plan).map((parameter) => JSON.stringify(family.stored(parameter, plan)[0]));
  expect(places).not.toContain(undefined);
  expect(new Set(places).size).toBe(places.length);
});

test.each(names)('%s: a token reads its experts and everything else', (name) => {
  const plan = planOf(name);
  const layers = moeLayerIndices(plan);
  const parameters = parametersOf(plan);
  const total = parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const idle = parameters
    .filter(({ expert }) => expert !== null)
    .reduce((sum, { shape, layer }) => {
      const feedForward = plan.layers[layer ?? 0]?.feedForward;
      const k = feedForward?.kind === 'moe' ? feedForward.expertsPerToken : 0;
      return sum + elementCount(shape) * (1 - k / 8);
    }, 0);
  expect(activeParameterCount(plan)).toBeCloseTo(total - idle, 6);
  expect(idle > 0).toBe(layers.length > 0);
});

test.each([
  ['qwen3_moe', { mlp_only_layers: [1] }, [0, 2]],
  ['qwen2_moe', { decoder_sparse_step: 2 }, [1]],
  ['deepseek_v2', {}, [1, 2]],
  ['ernie4_5_moe', {}, [1, 2]],
  ['mellum', { mlp_layer_types: ['dense', 'sparse', 'sparse'] }, [1, 2]],
  ['llama', {}, []],
] as const)('%s %j: layers with experts', (name, change, layers) => {
  expect(moeLayerIndices(planOf(name, change))).toEqual(layers);
});

test('windows and positions by type of layer', () => {
  expect(
    planOf('exaone_moe').layers.map(({ attention }) => [attention.window, attention.rope === null]),
  ).toEqual([
    [8, false],
    [8, false],
    [undefined, true],
  ]);
});

test('mimo_v2_flash: the first layer and every sixth see everything unless the config lists layers', () => {
  const published = {
    num_hidden_layers: 7,
    layer_types: undefined,
    sliding_window: undefined,
    sliding_window_size: 7,
    routed_scaling_factor: null,
  };
  const { layers } = planOf('mimo_v2_flash', published);
  const all = [undefined, 8, 8, 8, 8, undefined, 8];
  expect(layers.map(({ attention }) => attention.window)).toEqual(all);
  expect(moeLayerIndices({ ...planOf('mimo_v2_flash'), layers })).toEqual([1, 2, 3, 4, 5, 6]);
});

test.each(['laguna', 'mimo_v2_flash'])(
  '%s: positions of both types of layer where no record says them',
  (name) => {
    const bases = (change: Readonly<Record<string, unknown>>) =>
      planOf(name, change).layers.map(({ attention }) =>
        attention.rope === null ? [] : [...attention.rope.inverseFrequencies],
      );
    const [full, sliding] = [name === 'laguna' ? 5e5 : 5e6, 1e4];
    const share = name === 'laguna' ? [0.5, 1] : [0.334, 0.334];
    const record = (rope_theta: number, partial_rotary_factor: number | undefined) => ({
      rope_theta,
      partial_rotary_factor,
    });
    const said = {
      rope_parameters: {
        full_attention: record(full, share[0]),
        sliding_attention: record(sliding, share[1]),
      },
    };
    expect(bases({})).toEqual(bases(said));
    expect(bases({ head_dim: 12 })).not.toEqual(
      bases({ rope_parameters: { rope_theta: 100 }, head_dim: 12 }),
    );
  },
);

test('cohere2_moe: every fourth layer sees everything unless the config lists layers', () => {
  const { layers } = planOf('cohere2_moe', { num_hidden_layers: 5, layer_types: undefined });
  expect(layers.map(({ attention }) => attention.window)).toEqual([8, 8, 8, undefined, 8]);
});

test('cohere2_moe: dense first layers see everything with positions, and shared experts count as much as routed ones', () => {
  const prefix = { layer_types: undefined, first_k_dense_replace: 2, prefix_dense_intermediate_size: 48 };
  const { layers } = planOf('cohere2_moe', { num_hidden_layers: 6, num_shared_experts: 2, ...prefix });
  expect(layers.map(({ attention }) => attention.window)).toEqual([undefined, undefined, 8, 8, 8, undefined]);
  expect(layers.map(({ attention }) => attention.rope !== null)).toEqual([
    true,
    true,
    true,
    true,
    true,
    false,
  ]);
  expect(layers[1]?.feedForward).toEqual({ kind: 'dense', intermediate: 48 });
  const intermediate = 2 * base.intermediate_size;
  expect(layers[2]?.feedForward).toMatchObject({
    shared: { intermediate, gated: false, scale: 0.5 },
    routedScale: 0.5,
  });
});

test('a rotary base for each type of layer', () => {
  const full = { rope_type: 'default', rope_theta: 100 };
  const sliding = { rope_type: 'default', rope_theta: 10000 };
  const plan = planOf('mellum', {
    rope_theta: undefined,
    rope_parameters: { full_attention: full, sliding_attention: sliding },
  });
  const second = plan.layers.map(({ attention }) => attention.rope?.inverseFrequencies[1]);
  expect(second[0]).toBeCloseTo(10000 ** -0.25, 6);
  expect(second[2]).toBeCloseTo(100 ** -0.25, 6);
});

test('layers of one kind share their attention, so that tables and programs are made once', () => {
  const { layers } = planOf('gpt_oss');
  expect(layers[0]?.attention).toBe(layers[1]?.attention);
  expect(layers[0]?.attention.rope).toBe(layers[2]?.attention.rope);
});

test('deepseek_v2: gate weights are renormalised or scaled', () => {
  const routerOf = (norm_topk_prob: boolean) => {
    const plan = planOf('deepseek_v2', { norm_topk_prob, routed_scaling_factor: 16 });
    const [, layer] = plan.layers;
    return layer?.feedForward.kind === 'moe' ? layer.feedForward.router : null;
  };
  expect(routerOf(false)).toMatchObject({ normalise: false, scale: 16 });
  expect(routerOf(true)).toEqual({ scoring: 'softmax', normalise: true });
});

test('hidden_act is the activation of experts, shared experts and dense layers', () => {
  const ofLayers = (name: string, hidden_act: string) =>
    planOf(name, { hidden_act }).layers.map(({ feedForward }) => feedForward.activation);
  expect(ofLayers('deepseek_v3', 'relu2')).toEqual([0, 1, 2].map(() => ({ kind: 'relu-squared' })));
  expect(ofLayers('qwen2_moe', 'gelu_new')).toEqual(ofLayers('qwen2_moe', 'gelu_pytorch_tanh'));
  expect(ofLayers('llama', 'swish')).toEqual(ofLayers('llama', 'silu'));
  // Their classes do not read it.
  expect(ofLayers('gpt_oss', 'gelu')).toEqual(ofLayers('gpt_oss', 'silu'));
  expect(ofLayers('lfm2_moe', 'gelu')).toEqual(ofLayers('lfm2_moe', 'silu'));
});

test.each([
  ['qwen2', { max_window_layers: 1 }, [undefined, 8, 8]],
  ['qwen3', { max_window_layers: 2 }, [undefined, undefined, 8]],
  ['qwen2_moe', { max_window_layers: 3 }, [8, undefined, 8]],
  ['qwen2_moe', { max_window_layers: 1 }, [8, undefined, undefined]],
  ['qwen2_moe', { layer_types: windows.layer_types }, [8, 8, undefined]],
  ['qwen3_moe', { max_window_layers: 1 }, [8, 8, 8]],
  ['qwen3', { sliding_window: null }, [undefined, undefined, undefined]],
  ['qwen3', { use_sliding_window: false, max_window_layers: 0 }, [undefined, undefined, undefined]],
] as const)('windows of %s with %j', (name, change, expected) => {
  const plan = planOf(name, { use_sliding_window: true, sliding_window: 8, ...change });
  expect(plan.layers.map(({ attention }) => attention.window)).toEqual(expected);
});

test('dynamic scaling leaves rows up to the original length as they are, and ends there', () => {
  const plain = planOf('llama', {}).layers[0]?.attention.rope;
  const rope_scaling = { type: 'dynamic', factor: 2 };
  const plan = planOf('llama', { rope_scaling, max_position_embeddings: 100 });
  expect(plan.layers[0]?.attention.rope).toEqual({ ...plain, mostPositions: 100 });
  expect(() => checkPositions(plan, 100)).not.toThrow();
  expect(() => checkPositions(plan, 101)).toThrow('rows of 101 tokens are longer than the 100');
  const shorter = { ...rope_scaling, original_max_position_embeddings: 40 };
  expect(() => checkPositions(planOf('llama', { rope_scaling: shorter }), 41)).toThrow('longer than the 40');
});

test.each([
  ['llama', { quantization_config: { quant_method: 'mxfp4' } }, 'quantization_config'],
  ['qwen2', windows, 'layer_types gives layer 0 a window, which needs use_sliding_window'],
  ['deepseek_v2', { mlp_bias: true }, 'mlp_bias: only false is supported'],
  ['qwen2_moe', { shared_expert_intermediate_size: undefined }, 'shared_expert_intermediate_size'],
  ['qwen3_moe', { num_experts: undefined }, 'num_experts is missing'],
  ['dots1', { sliding_window: 8 }, 'sliding_window: only null is supported'],
  ['deepseek_v2', { topk_method: 'noaux_tc' }, 'topk_method'],
  ['deepseek_v3', { scoring_func: 'softmax' }, 'scoring_func: only "sigmoid" is supported'],
  ['deepseek_v3', { n_group: 3, topk_group: 2 }, 'n_group must divide the number of experts'],
  ['hunyuan_v1_moe', { moe_topk: [1] }, 'moe_topk has no entry for layer 1'],
  ['laguna', { num_attention_heads_per_layer: [4, 8, 4] }, 'num_attention_heads_per_layer'],
  ['exaone_moe', { layer_types: undefined }, 'layer_types is missing'],
  ['llama', { rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'needs low_freq_factor'],
  ['phimoe', { num_experts_per_tok: 3 }, 'num_experts_per_tok is 3'],
  ['phimoe', { rope_scaling: { type: 'longrope', original_max_position_embeddings: 4 } }, 'short_factor'],
  ['cohere2_moe', { shared_expert_combination_strategy: 'max' }, 'shared_expert_combination_strategy'],
  ['lfm2_moe', { conv_bias: true }, 'conv_bias: only false is supported'],
  ['llama', { rope_scaling: { type: 'ntk', factor: 2 } }, 'rope_type "ntk" is not supported'],
] as const)('%s %j is refused', (name, change, message) => {
  expect(() => planOf(name, change)).toThrow(message);
});

test('rope_parameters without the record of a type of layer are refused by name', () => {
  const { mellum } = configs;
  const config = { ...base, ...mellum, model_type: 'mellum', rope_parameters: { full_attention: null } };
  expect(() => familyOf(config).plan(config)).toThrow(/rope_parameters/);
});
