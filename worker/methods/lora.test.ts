import { describe, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { familyOf } from '#worker/families/index.ts';
import {
  elementCount,
  parametersOf,
  type LowRankPlan,
  type MethodContext,
  type Parameter,
} from '#worker/model/index.ts';
import { contextOf } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const context = contextOf(1);
const start = (options: Record<string, unknown>, in_: MethodContext = context) =>
  startMethod('lora', options, in_);

/** A context for a published model. */
function published(config: Record<string, unknown>): MethodContext {
  return { ...context, plan: familyOf(config).plan(config) };
}

const olmoe = {
  model_type: 'olmoe',
  vocab_size: 50304,
  hidden_size: 2048,
  intermediate_size: 1024,
  num_hidden_layers: 16,
  num_attention_heads: 16,
  num_experts: 64,
  num_experts_per_tok: 8,
};
const qwen = {
  model_type: 'qwen2_moe',
  vocab_size: 151936,
  hidden_size: 2048,
  intermediate_size: 5632,
  moe_intermediate_size: 1408,
  shared_expert_intermediate_size: 5632,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  num_experts: 60,
  num_experts_per_tok: 4,
};
const deepseek = {
  model_type: 'deepseek_v2',
  vocab_size: 102400,
  hidden_size: 2048,
  intermediate_size: 10944,
  moe_intermediate_size: 1408,
  num_hidden_layers: 27,
  num_attention_heads: 16,
  n_routed_experts: 64,
  n_shared_experts: 2,
  num_experts_per_tok: 6,
  first_k_dense_replace: 1,
  q_lora_rank: null,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
};

test.each([
  ['OLMoE', olmoe, 301_989_888],
  ['Qwen1.5-MoE-A2.7B', qwen, 477_757_440],
  ['DeepSeek-V2-Lite', deepseek, 552_075_264],
])('adapters of rank 32 on the experts of %s', (_name, config, count) => {
  const { added = [] } = start({ rank: 32, targets: ['experts'] }, published(config));
  expect(added.reduce((sum, { shape }) => sum + elementCount(shape), 0)).toBe(count);
});

test.each([
  { name: 'OLMoE', config: olmoe, expert: 6_291_456, routed: 6.442, router: 2_097_152, gib: 96 },
  { name: 'Qwen1.5', config: qwen, expert: 8_650_752, routed: 12.457, router: 2_949_120, gib: 185.6 },
  { name: 'DeepSeek-V2', config: deepseek, expert: 8_650_752, routed: 14.395, router: 3_407_872, gib: 214.5 },
])('what full fine-tuning of $name would train instead', ({ config, expert, routed, router, gib }) => {
  const parameters = parametersOf(published(config).plan);
  const count = (wanted: (parameter: Parameter) => boolean) =>
    parameters.filter(wanted).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const layer = parameters.find((parameter) => parameter.expert === 0)?.layer;
  expect(count((parameter) => parameter.expert === 0 && parameter.layer === layer)).toBe(expert);
  expect(count((parameter) => parameter.role === 'router')).toBe(router);
  const all = count((parameter) => parameter.expert !== null);
  expect(all / 1e9).toBeCloseTo(routed, 3);
  // Weight, gradient and two moments in float32.
  expect((16 * all) / 2 ** 30).toBeCloseTo(gib, 1);
});

test('by default adapters are beside attention and experts; routers, norms and embeddings have none', () => {
  const session = start({});
  expect([...new Set((session.added ?? []).map(({ role }) => role))].sort()).toEqual(
    ['query', 'key', 'value', 'output', 'expertGate', 'expertUp', 'expertDown']
      .flatMap((role) => [`${role}.loraA`, `${role}.loraB`])
      .sort(),
  );
  const ofSecond = (session.added ?? []).filter(({ expert }) => expert === 1);
  expect(ofSecond.map(({ id, shape }) => [id, shape])).toContainEqual([
    'layers.0.experts.1.expertGate.loraA',
    [16, 2],
  ]);
  const shared = start({}, published(qwen)).added?.filter(({ role }) => role.startsWith('shared'));
  expect(shared).toHaveLength(24 * 3 * 2);
});

describe('start values', () => {
  const valuesOf = (seed: number) => {
    const { added = [] } = start({ targets: ['query'], rank: 8 }, { ...published(olmoe), seed });
    const [a, b] = added;
    return [a, b].map((parameter) => parameter?.initial(() => new Float32Array(0)) ?? new Float32Array(0));
  };

  test('A is drawn evenly from ±1/√in, B is zero', () => {
    const [a = new Float32Array(0), b = new Float32Array(0)] = valuesOf(7);
    expect(a).toHaveLength(8 * 2048);
    const bound = 1 / Math.sqrt(2048);
    expect(Math.max(...a)).toBeLessThanOrEqual(bound);
    expect(Math.max(...a)).toBeGreaterThan(0.99 * bound);
    expect(Math.min(...a)).toBeLessThan(-0.99 * bound);
    const variance = a.reduce((sum, x) => sum + x * x, 0) / a.length;
    expect(variance / (bound ** 2 / 3)).toBeCloseTo(1, 1);
    expect(b.every((x) => x === 0)).toBe(true);
  });

  test('they follow from the seed and differ between weights', () => {
    expect(valuesOf(7)).toEqual(valuesOf(7));
    expect(valuesOf(8)[0]).not.toEqual(valuesOf(7)[0]);
    const { added = [] } = start({ targets: ['query', 'key'] });
    const [first, second] = added.filter(({ role }) => role.endsWith('loraA'));
    const none = () => new Float32Array(0);
    expect(first?.initial(none)).not.toEqual(second?.initial(none));
  });
});

test('nothing of the checkpoint trains', () => {
  const session = start({});
  expect(session.trainable({ id: 'x', role: 'query', layer: 0, expert: null, shape: [2, 2] })).toBe(false);
});

test('targets that the model does not have are named', () => {
  const refused = () => start({ targets: ['sharedExperts'] });
  expect(refused).toThrow(UserError);
  expect(refused).toThrow('this model has none of sharedExperts');
});

test('targets have ranks and alphas of their own, and a projection counts before its group', () => {
  const session = start({
    rank: 4,
    targets: ['attention', 'experts'],
    rankPattern: { attention: 2, query: 3, sharedExperts: 9 },
    alphaPattern: { experts: 5 },
  });
  expect(session.adapters?.kind === 'low-rank' && Object.fromEntries(session.adapters.roles)).toMatchObject({
    query: { rank: 3, alpha: 32 },
    key: { rank: 2, alpha: 32 },
    expertUp: { rank: 4, alpha: 5 },
  });
  const shapes = new Map(session.added?.map(({ id, shape }) => [id, shape]));
  expect(shapes.get('layers.0.query.loraA')).toEqual([3, 2]);
  expect(shapes.get('layers.0.experts.0.expertDown.loraB')).toEqual([2, 4]);
});

test('dropout is none unless asked for, and a share', () => {
  const dropoutOf = (options: Record<string, unknown>) => {
    const { adapters } = start(options);
    return adapters?.kind === 'low-rank' ? adapters.dropout : NaN;
  };
  expect(dropoutOf({})).toBe(0);
  expect(dropoutOf({ dropout: 0.05 })).toBe(0.05);
  expect(() => start({ dropout: 1 })).toThrow('dropout');
});

test('given adapters decide rank, scale, dropout and weights; those of the other kind are refused', () => {
  const plan: LowRankPlan = {
    kind: 'low-rank',
    roles: new Map([['value', { rank: 2, alpha: 3 }]]),
    rankStabilised: true,
    magnitude: false,
    dropout: 0.25,
  };
  const values = new Map([
    ['layers.0.value.loraA', Float32Array.of(1, 2, 3, 4)],
    ['layers.0.value.loraB', Float32Array.of(5, 6, 7, 8)],
  ]);
  const with_ = (magnitude: boolean): MethodContext => ({
    ...context,
    readAdapters: () => ({ plan: { ...plan, magnitude }, values }),
  });
  const session = start({ adapterFolder: 'given', rank: 9 }, with_(false));
  expect(session.adapters).toEqual(plan);
  expect(session.added?.map((parameter) => [...parameter.initial(() => new Float32Array(0))])).toEqual([
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ]);
  expect(() => start({ adapterFolder: 'given' }, with_(true))).toThrow('given holds DoRA adapters');
});

test('expert condensers can train adapters in place of weights', () => {
  const session = startMethod('expert-condenser', { adapters: { rank: 3, targets: ['experts'] } }, context);
  const size = { rank: 3, alpha: 32 };
  const roles = new Map(['expertGate', 'expertUp', 'expertDown'].map((role) => [role, size]));
  expect(session.adapters).toMatchObject({ kind: 'low-rank', roles });
  expect(session.added).toHaveLength(3 * 3 * 2);
  const parameter = { id: 'x', role: 'query', layer: 0, expert: null, shape: [2, 2] } as const;
  expect(session.trainable(parameter)).toBe(false);
  expect(startMethod('expert-condenser', {}, context).trainable(parameter)).toBe(true);
});
