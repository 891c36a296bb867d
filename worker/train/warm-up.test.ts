import { describe, expect, test } from 'vitest';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { familyOf } from '#worker/families/index.ts';
import { elementCount, parametersOf } from '#worker/model/index.ts';
import { planMemory } from '#worker/plan/index.ts';
import { anySubmatrices, planWithWarmUp, scoreSubmatrices } from './warm-up.ts';

// [[4, −4, 1, 1], [4, −4, 1, 1], [0, 2, −3, −1], [2, 0, −1, −3]] in squares of two.
const gradients = Float32Array.of(4, -4, 1, 1, 4, -4, 1, 1, 0, 2, -3, -1, 2, 0, -1, -3);

describe('scores of sub-matrices', () => {
  test.each([
    ['absOfMean', [0, 1, 1, 2]],
    ['meanOfAbs', [4, 1, 1, 2]],
    ['l2', [8, 2, 2.828427, 4.472136]],
  ] as const)('%s', (score, want) => {
    const got = scoreSubmatrices(gradients, 4, 2, score);
    want.forEach((value, i) => expect(got[i]).toBeCloseTo(value, 6));
  });
});

describe('plan', () => {
  const config = {
    model_type: 'olmoe',
    vocab_size: 1000,
    hidden_size: 512,
    intermediate_size: 256,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_experts: 16,
    num_experts_per_tok: 2,
  };
  const plan = familyOf(config).plan(config);
  const spec = (method: { name: string; options?: Record<string, unknown> }) =>
    parseRunSpec({
      model: { path: '/model' },
      data: { train: [{ path: '/rows.jsonl' }], maxLength: 64 },
      method,
      train: { steps: 1, microBatch: 1 },
    });
  const parameters = parametersOf(plan);
  const size = (list: typeof parameters) => list.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const storedBytes = 2 * size(parameters);

  test('the memory is that of the warm-up: full fine-tuning, and a sum of gradients for each weight that is scored', () => {
    const layout = { plan, parameters, isTrained: () => false, storedBytes };
    const { parts, totalMB } = planWithWarmUp(layout, spec({ name: 'smt' }), 1e6);
    const full = planMemory({ ...layout, isTrained: () => true }, spec({ name: 'full' }), 1e6);
    const scored = parameters.filter(
      ({ role }) => /^(query|key|value|expert)/.test(role) && !role.endsWith('Norm'),
    );
    const sums = (4 * size(scored)) / 1e6;
    expect(parts['sums of gradients']).toBeCloseTo(sums, 9);
    expect(totalMB).toBeCloseTo(full.totalMB + sums, 6);
    expect(planWithWarmUp(layout, spec({ name: 'lora' }), 1e6).parts).not.toHaveProperty('sums of gradients');
  });

  test('as many sub-matrices are planned as will train', () => {
    const method = { name: 'smt', options: { attentionShare: 0.01, mlpShare: 0.02 } };
    const found = anySubmatrices(method, plan);
    const all = size(parameters.filter(({ shape }) => shape.length === 2));
    expect(found?.size).toBe(256);
    const count = [...(found?.places.values() ?? [])].flat().length;
    expect(count).toBe(Math.round((0.01 * all) / 65536) + Math.round((0.02 * all) / 65536));
    expect(anySubmatrices({ name: 'lora', options: {} }, plan)).toBeNull();
  });
});
