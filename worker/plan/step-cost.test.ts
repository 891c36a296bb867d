import { expect, test } from 'vitest';
import { familyOf } from '#worker/families/index.ts';
import { startMethod } from '#worker/methods/index.ts';
import { hasGradient, parametersOf, type Parameter } from '#worker/model/index.ts';
import { methodContext } from '#worker/train/index.ts';
import { expertsAtWork, productFlops } from './step-cost.ts';

const family = familyOf({ model_type: 'olmoe' });
const plan = family.plan({
  vocab_size: 50304,
  hidden_size: 2048,
  intermediate_size: 1024,
  num_hidden_layers: 16,
  num_attention_heads: 16,
  num_experts: 64,
  num_experts_per_tok: 8,
});
const parameters = parametersOf(plan);
const isTrained = (parameter: Parameter) => hasGradient(parameter);
const none = { expertScores: null, submatrices: null, seed: 0 };
const layoutOf = (name: string, options: Record<string, unknown> = {}) => ({
  plan,
  parameters,
  isTrained,
  session: startMethod(name, options, methodContext(family, plan, none)),
});

test.each([
  ['full', {}, { active: 8, besides: 0 }],
  ['default-moe', {}, { active: 8, besides: 0 }],
  ['densemixer', {}, { active: 8, besides: 56 }],
  ['ds-moe', {}, { active: 64, besides: 0 }],
  ['expert-condenser', { phase: 'both' }, { active: 10, besides: 0 }],
  ['expert-condenser', { phase: 'bias' }, { active: 8, besides: 0 }],
  ['expert-condenser', { phase: 'both', budget: 'replace' }, { active: 8, besides: 0 }],
  ['expert-condenser', { phase: 'both', allocation: 'gini', maxPerLayer: 5 }, { active: 13, besides: 0 }],
])('experts of OLMoE at work for a token: %s %j', (name, options, expected) => {
  expect(expertsAtWork(layoutOf(name, options), 3)).toEqual(expected);
});

test('products of OLMoE for a token', () => {
  // Attention 4 · 2048², routers 64 · 2048, 8 experts of 3 · 1024 · 2048 in each of 16 layers; the head; no look-up.
  const expert = 3 * 1024 * 2048;
  const others = 16 * (4 * 2048 ** 2 + 64 * 2048) + 50304 * 2048;
  const full = productFlops(layoutOf('full'));
  expect(full).toBe(6 * (others + 16 * 8 * expert));
  expect(productFlops(layoutOf('ds-moe'))).toBe(6 * (others + 16 * 64 * expert));
  expect(productFlops(layoutOf('densemixer')) - full).toBe(2 * 16 * 56 * expert);
  const first =
    productFlops(layoutOf('local-expert')) - productFlops(layoutOf('local-expert', { wrongTokenGain: 0 }));
  expect(first).toBe(2 * (others + 16 * 8 * expert));
  const frozen = productFlops({ ...layoutOf('full'), isTrained: ({ expert: e }) => e === null });
  expect(full - frozen).toBe(2 * 16 * 8 * expert);
});
