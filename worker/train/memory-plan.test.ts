import { expect, test } from 'vitest';
import { parseRunSpec } from '#core/contract/run-spec.ts';
import { unpaddedBatch } from '#worker/engine/index.ts';
import { familyOf } from '#worker/families/index.ts';
import {
  adapterParameters,
  elementCount,
  hasGradient,
  isAdded,
  parametersOf,
  plainRouting,
  routerShapes,
} from '#worker/model/index.ts';
import { planDevice, exceedsBudget, planMemory, type ModelLayout } from '#worker/plan/index.ts';
import { attentionModels } from './attention-models.fixture.ts';
import { loadModel } from './load-model.ts';

const config = {
  vocab_size: 8192,
  hidden_size: 512,
  intermediate_size: 256,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  num_experts: 32,
  num_experts_per_tok: 8,
};
const plan = familyOf({ model_type: 'olmoe' }).plan(config);
const parameters = parametersOf(plan);
const layout: ModelLayout = { plan, parameters, isTrained: hasGradient, storedBytes: 4 * 118e6 };
const spec = parseRunSpec({
  model: { path: '/model' },
  data: { train: [{ path: '/data.jsonl' }], maxLength: 256 },
  method: { name: 'full' },
  train: { steps: 1, microBatch: 4 },
});

test('with room enough no layer is computed twice', () => {
  expect(planMemory(layout, spec, 100_000).recomputedLayers).toBe(0);
});

test('a smaller budget takes the fewest layers that make the run fit', () => {
  const whole = planMemory(layout, spec, 100_000);
  // A plan fills nine tenths of its budget at most.
  const budget = (whole.totalMB - 60) / 0.9;
  const planned = planMemory(layout, spec, budget);
  expect(planned.recomputedLayers).toBeGreaterThan(0);
  expect(planned.recomputedLayers).toBeLessThan(8);
  expect(planned.totalMB).toBeLessThanOrEqual(0.9 * budget);
  expect(exceedsBudget(planned, budget)).toBe(false);
  // It is the first that fits: with a little less room than it takes, one more layer goes.
  expect(planMemory(layout, spec, planned.totalMB / 0.9 - 1).recomputedLayers).toBe(
    planned.recomputedLayers + 1,
  );
});

test('what cannot fit is planned with every layer computed twice, and exceeds the budget', () => {
  const planned = planMemory(layout, spec, 500);
  expect(planned.recomputedLayers).toBe(8);
  expect(exceedsBudget(planned, 500)).toBe(true);
});

test('frozen weights take what they take on disk, and need no gradients or moments', () => {
  const frozen = planMemory({ ...layout, isTrained: ({ role }) => role === 'router' }, spec, 100_000);
  const routers = 8 * 32 * 512;
  expect(frozen.parts['optimizer moments']).toBeCloseTo((routers * 8) / 1e6);
  // All but the embedding, which is looked up on disk, unless the head is tied to it.
  const stored = parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const held = 1 - (routers + 8192 * 512) / stored;
  expect(frozen.parts['frozen weights']).toBeCloseTo((layout.storedBytes * held) / 1e6);
});

test('a frozen head of 16 bits is widened in slices, unless its norm trains', () => {
  const many = { ...plan, vocabularySize: 100_000 };
  const wide = parametersOf(many);
  const stored = wide.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const parts = (trained: string) =>
    planMemory(
      { plan: many, parameters: wide, storedBytes: 2 * stored, isTrained: ({ role }) => role === trained },
      spec,
      100_000,
    ).parts;
  const [inside, slices] = [parts('finalNorm'), parts('router')];
  expect((inside['programs'] ?? NaN) - (slices['programs'] ?? NaN)).toBeCloseTo((4 * 100_000 * 512) / 1e6);
  // A slice has room where the layers are at work.
  expect(inside['activations']).toBe(slices['activations']);
});

test('rounded experts take a byte a weight and a scale a row, and none of them is left on disk', () => {
  const isRounded = ({ expert, shape }: (typeof parameters)[number]) => expert !== null && shape.length === 2;
  const frozen = { ...layout, isTrained: ({ role }: (typeof parameters)[number]) => role === 'router' };
  const stored = planMemory(frozen, spec, 100_000).parts['frozen weights'] ?? NaN;
  const rounded = planMemory({ ...frozen, isRounded }, spec, 500);
  const experts = 8 * 32 * 3 * 512 * 256;
  const scales = 8 * 32 * (256 + 256 + 512);
  const perWeight = layout.storedBytes / parameters.reduce((sum, each) => sum + elementCount(each.shape), 0);
  expect(stored - (rounded.parts['frozen weights'] ?? NaN)).toBeCloseTo(
    ((perWeight - 1) * experts - 4 * scales) / 1e6,
  );
  expect(rounded.streamedLayers).toBe(0);
});

test('smaller moments take less', () => {
  const moments = (format: 'float32' | 'bfloat16' | 'float8') => {
    const train = { ...spec.train, optimizer: { ...spec.train.optimizer, moments: format } };
    return planMemory(layout, { ...spec, train }, 100_000).parts['optimizer moments'] ?? NaN;
  };
  expect(moments('bfloat16') / moments('float32')).toBe(1 / 2);
  expect(moments('float8') / moments('float32')).toBeCloseTo((1 + 4 / 256) / 4);
});

test('where frozen weights are most of it, their experts stay on disk before layers are computed twice', () => {
  const oneExpert: ModelLayout = { ...layout, isTrained: ({ expert }) => expert === 0 };
  const whole = planMemory(oneExpert, spec, 100_000);
  expect(whole.streamedLayers).toBe(0);
  const planned = planMemory(oneExpert, spec, (whole.totalMB - 300) / 0.9);
  expect(planned.streamedLayers).toBeGreaterThan(0);
  expect(planned.totalMB).toBeLessThanOrEqual(whole.totalMB - 300);
  expect(planned.parts['frozen weights']).toBeLessThan(whole.parts['frozen weights'] ?? 0);
});

test('nothing is streamed where nothing is frozen', () => {
  expect(planMemory(layout, spec, 500).streamedLayers).toBe(0);
  expect(planMemory(layout, spec, 500).parts['frozen weights']).toBe(0);
});

test('a method that sends tokens to all experts keeps the activations of all', () => {
  const routing = plainRouting(routerShapes(plan));
  const session = { routing, visitedExperts: () => 32, losses: [] };
  const [sparse, dense] = [layout, { ...layout, session }].map(
    (each) => planMemory(each, spec, 100_000).parts['activations'] ?? NaN,
  );
  // 24 experts more, two projections of 256 and a gate weight each, in 8 layers of 1,024 tokens; and their rows at work.
  const kept = 8 * 1024 * 24 * (2 * 256 + 1);
  expect((dense ?? NaN) - (sparse ?? NaN)).toBeGreaterThan((kept * 4) / 1e6);
});

test.each([
  [4, 256, 2510],
  [1, 1024, 2500],
  [1, 2048, 2810],
  [8, 512, 3340],
  [1, 4096, 3530],
])(
  'the plan of %i rows of %i tokens is within 5 %% of the peak that was measured',
  (microBatch, maxLength, peak) => {
    // `bench` of 118 million parameters, four experts a token; two cores.
    const four = familyOf({ model_type: 'olmoe' }).plan({ ...config, num_experts_per_tok: 4 });
    const measured = { ...layout, plan: four, parameters: parametersOf(four) };
    const sized = { ...spec, train: { ...spec.train, microBatch }, data: { ...spec.data, maxLength } };
    const { totalMB } = planMemory(measured, sized, 100_000);
    expect(totalMB / peak).toBeGreaterThan(0.95);
    expect(totalMB / peak).toBeLessThan(1.05);
  },
);

const roomy = 100_000;
/** Every layer is then computed twice. */
const scarce = 1;

test.each(attentionModels)('activations of %s are what it takes of the arena', async (_name, modelDir) => {
  for (const [microBatch, maxLength, budgetMB] of [
    [4, 128, roomy],
    [4, 128, scarce],
    [1, 640, roomy],
    [1, 640, scarce],
  ] as const) {
    const sized = { ...spec, train: { ...spec.train, microBatch }, data: { ...spec.data, maxLength } };
    const method = { name: 'full', options: {} };
    const plan = (own: ModelLayout) => planMemory(own, sized, budgetMB);
    const model = await loadModel({ modelDir, method, threads: 1, planMemory: plan });
    const before = model.arena.bytesUsed;
    const ids = Int32Array.from({ length: microBatch * maxLength }, (_, i) => 5 + ((i * i + 3 * i) % 90));
    await model.executor.train(unpaddedBatch(ids, microBatch, ids), ids.length, 1);
    const takenMB = (model.arena.bytesCommitted - before) / 1e6;
    const ratio = (model.memory?.parts['activations'] ?? NaN) / takenMB;
    model.close();
    expect(ratio, `${microBatch} x ${maxLength} in ${budgetMB} MB`).toBeGreaterThan(0.95);
    expect(ratio, `${microBatch} x ${maxLength} in ${budgetMB} MB`).toBeLessThan(1.05);
  }
});

test('masks of dropout take as much as what the adapters of a layer read', () => {
  const planned = (dropout: number) => {
    const routing = plainRouting(routerShapes(plan));
    const roles = new Map([['query', { rank: 4, alpha: 8 }], ['expertDown', { rank: 4, alpha: 8 }]]); // prettier-ignore
    const adapters = { kind: 'low-rank', roles, rankStabilised: false, magnitude: false, dropout } as const;
    const parameters = [...layout.parameters, ...adapterParameters(layout.parameters, adapters)];
    const each = { ...layout, parameters, isTrained: isAdded, session: { routing, adapters, losses: [] } };
    // So few words that the head is not the largest stage.
    const fewWords = { ...each, plan: { ...plan, vocabularySize: 1024 } };
    return {
      onCpu: planMemory(each, spec, 100_000).parts['activations'] ?? NaN,
      onAdapter: planDevice(fewWords, spec, null, 0).parts['work space'] ?? NaN,
    };
  };
  const [none, some] = [planned(0), planned(0.1)];
  expect(some.onCpu - none.onCpu).toBeCloseTo((4 * 1024 * (512 + 256)) / 1e6, 6);
  // There a program has many experts, and a token goes to several.
  expect(some.onAdapter - none.onAdapter).toBeCloseTo((4 * 1024 * (512 + 8 * 256)) / 1e6, 6);
});
