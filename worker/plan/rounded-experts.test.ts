import { expect, test } from 'vitest';
import type { FrozenExperts } from '#core/contract/run-spec.ts';
import type { ParameterStore } from '#worker/engine/index.ts';
import { familyOf } from '#worker/families/index.ts';
import { parametersOf } from '#worker/model/index.ts';
import { heldExperts, roundedUnder, roundingMeasures } from './rounded-experts.ts';

const plan = familyOf({ model_type: 'olmoe' }).plan({
  vocab_size: 64,
  hidden_size: 8,
  intermediate_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_experts: 2,
  num_experts_per_tok: 1,
});

test('matrices of experts are rounded, but for those that train or have adapters', () => {
  const rounded = (...given: Parameters<typeof roundedUnder>) =>
    parametersOf(plan)
      .filter(roundedUnder(...given))
      .map(({ id }) => id);
  const all = [0, 1].flatMap((expert) =>
    ['expertGate', 'expertUp', 'expertDown'].map((role) => `layers.0.experts.${expert}.${role}`),
  );
  expect(rounded('int8', () => false).sort()).toEqual([...all].sort());
  expect(rounded('int8-products', () => false)).toEqual(rounded('int8', () => false));
  expect(rounded('stored', () => false)).toEqual([]);
  expect(rounded('int8', ({ expert }) => expert === 0)).toEqual(
    expect.not.arrayContaining(all.slice(0, 3)) as string[],
  );
  const roles = new Map([['expertDown', { rank: 1, alpha: 1 }]]);
  const adapters = { kind: 'low-rank', roles, rankStabilised: false, magnitude: false, dropout: 0 } as const;
  expect(rounded('int8', () => false, { adapters })).toHaveLength(4);
});

const asking = (provider: 'auto' | 'cpu' | 'webgpu', frozenExperts: FrozenExperts = 'int8') => ({
  engine: {
    provider,
    threads: 1,
    frozenExperts,
    memoryBudgetMB: null,
    deviceMemoryMB: null,
    deviceWeights: 'auto' as const,
  },
});

test('not on a graphics adapter, whose weights are float32', () => {
  expect((['auto', 'cpu', 'webgpu'] as const).map((provider) => heldExperts(asking(provider)))).toEqual([
    'int8',
    'int8',
    'stored',
  ]);
});

test('a run says how many matrices are rounded, or why none is', () => {
  const parameters = parametersOf(plan);
  const isRounded = roundedUnder('int8', () => false);
  const storeOf = (rounded: boolean, multipliesInt8 = false) =>
    ({
      parameters,
      device: null,
      multipliesInt8,
      heldDtype: (id: string) =>
        rounded && parameters.some((each) => each.id === id && isRounded(each)) ? 'int8' : 'bfloat16',
    }) as const;
  expect(roundingMeasures(asking('auto', 'stored'), storeOf(false))).toEqual([]);
  expect(roundingMeasures(asking('auto'), storeOf(true))).toEqual([expect.stringMatching(/^6 matrices/)]);
  expect(roundingMeasures(asking('auto'), storeOf(false))).toEqual([expect.stringMatching(/^No experts/)]);
  const ofProducts = (multiplies: boolean) =>
    roundingMeasures(asking('auto', 'int8-products'), storeOf(true, multiplies));
  expect(ofProducts(true)).toEqual([
    expect.stringMatching(/^6 matrices/),
    expect.stringMatching(/^They are multiplied as they are/),
  ]);
  expect(ofProducts(false)).toEqual([expect.stringMatching(/^6 matrices/), expect.stringMatching(/no VNNI/)]);
  const onAdapter = { ...storeOf(false), device: {} as ParameterStore['device'] };
  expect(roundingMeasures(asking('webgpu'), onAdapter)).toEqual([
    expect.stringMatching(/^Frozen experts are held as stored/),
  ]);
});
