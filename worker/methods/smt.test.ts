import { describe, expect, test } from 'vitest';
import { UserError } from '#core/contract/errors.ts';
import { familyOf } from '#worker/families/index.ts';
import { parametersOf, type DecoderPlan, type SubmatrixScores } from '#worker/model/index.ts';
import { contextOf } from './f0.fixture.ts';
import { startMethod, warmUpOf } from './index.ts';

const planOf = (config: Record<string, unknown>): DecoderPlan => familyOf(config).plan(config);
/** Two layers of four experts; matrices of 8 × 8 and 4 × 8, so that there are 4 and 2 sub-matrices of 4 × 4. */
const plan = planOf({
  model_type: 'olmoe',
  vocab_size: 16,
  hidden_size: 8,
  intermediate_size: 4,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_experts: 4,
  num_experts_per_tok: 2,
});

function warmUp(options: Record<string, unknown>, of: DecoderPlan = plan) {
  const found = warmUpOf('smt', { blockSize: 4, ...options }, of);
  if (found === null) throw new Error('SMT has a warm-up');
  return found;
}

/** Scores that rise along the model, but for those given. */
function scores(given: Record<string, readonly number[]> = {}, size = 4): SubmatrixScores {
  const matrices = parametersOf(plan).filter(({ shape }) => shape.length === 2);
  return new Map(
    matrices.map(({ id, shape: [rows = 0, columns = 0] }, index) => [
      id,
      Float32Array.from(
        given[id] ?? Array.from({ length: (rows * columns) / size ** 2 }, (_, i) => (index + i / 100) / 1e3),
      ),
    ]),
  );
}

test('attention and MLPs have their own shares of all sub-matrices, of which the best train', () => {
  // Embedding and head 8 each; per layer attention 16, router 2, experts 4 × 3 × 2: 16 + 2 × 42 = 100 in all.
  const { choose, scoreOf } = warmUp({ attentionShare: 3 / 100, mlpShare: 5 / 100 });
  const { places, size } = choose(
    scores({
      'layers.0.query': [0, 9, 8, 0],
      'layers.1.value': [0, 0, 0, 7],
      'layers.1.output': [9, 9, 9, 9],
    }),
  );
  expect(size).toBe(4);
  const ofAttention = [...places].filter(([id]) => !id.includes('experts'));
  expect(ofAttention).toEqual([
    [
      'layers.0.query',
      [
        [0, 1],
        [1, 0],
      ],
    ],
    ['layers.1.value', [[1, 1]]],
  ]);
  const ofExperts = [...places].filter(([id]) => id.includes('experts'));
  expect(ofExperts.flatMap(([, chosen]) => chosen)).toHaveLength(5);
  // The scores rise along the model: the last expert has the best.
  expect(ofExperts.map(([id]) => id)).toContain('layers.1.experts.3.expertDown');
  const roles = ['query', 'output', 'router', 'expertUp'] as const;
  expect(roles.map((role) => scoreOf({ id: '', role, layer: 0, expert: null, shape: [8, 8] }))).toEqual([
    'absOfMean',
    null,
    null,
    'meanOfAbs',
  ]);
});

test('a quota gives each expert some, within the share', () => {
  const experts = (perExpert: number) => {
    const { places } = warmUp({ attentionShare: 0, mlpShare: 10 / 100, perExpert }).choose(scores());
    return {
      experts: new Set([...places.keys()].map((id) => id.slice(0, id.lastIndexOf('.')))).size,
      chosen: [...places.values()].flat().length,
    };
  };
  expect(experts(0)).toEqual({ experts: 2, chosen: 10 });
  expect(experts(1)).toEqual({ experts: 8, chosen: 10 });
});

test('the same share of each weight', () => {
  const { places } = warmUp({ attentionShare: 0.12, mlpShare: 0, selection: 'perMatrix' }).choose(scores());
  // 12 of 24 sub-matrices of six projections.
  expect([...places.values()].map((chosen) => chosen.length)).toEqual([2, 2, 2, 2, 2, 2]);
});

describe('size of a sub-matrix', () => {
  const qwen = planOf({
    model_type: 'qwen2_moe',
    vocab_size: 64,
    hidden_size: 2048,
    intermediate_size: 5632,
    moe_intermediate_size: 1408,
    shared_expert_intermediate_size: 5632,
    num_hidden_layers: 1,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    num_experts: 2,
    num_experts_per_tok: 1,
  });

  test('256 does not divide 1408, 128 does, and is what is taken by itself', () => {
    expect(() => warmUp({ blockSize: 256 }, qwen)).toThrow(UserError);
    expect(() => warmUp({ blockSize: 256 }, qwen)).toThrow(
      '256 does not divide layers.0.experts.0.expertGate',
    );
    expect(warmUp({ blockSize: 128 }, qwen).size).toBe(128);
    expect(warmUp({ blockSize: 'auto' }, qwen).size).toBe(128);
    expect(warmUp({ blockSize: 64 }, qwen).size).toBe(64);
  });
});

test('a share of nothing is refused', () => {
  expect(() => warmUp({ attentionShare: 0, mlpShare: 0 })).toThrow('not one sub-matrix of 4 × 4 would train');
});

test('only the chosen sub-matrices train, from the values of the checkpoint', () => {
  const context = { ...contextOf(1), plan };
  expect(() => startMethod('smt', {}, context)).toThrow('had no warm-up to choose them');
  const submatrices = {
    kind: 'submatrices',
    size: 4,
    places: new Map([['layers.1.query', [[0, 1] as const, [1, 0] as const]]]),
  } as const;
  const session = startMethod('smt', {}, { ...context, submatrices });
  expect(parametersOf(plan).some((parameter) => session.trainable(parameter))).toBe(false);
  const [added, ...others] = session.added ?? [];
  expect(others).toEqual([]);
  expect(added).toMatchObject({ id: 'layers.1.query.submatrices', shape: [2, 4, 4] });
  const values = added?.initial(() => Float32Array.from({ length: 64 }, (_, i) => i));
  expect([...(values ?? [])].slice(0, 5)).toEqual([4, 5, 6, 7, 12]);
  expect(values?.[16]).toBe(32);
});
