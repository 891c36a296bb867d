import { expect, test } from 'vitest';
import { opTable } from '#worker/graph/index.ts';
import { strayNodes } from '#worker/runtime/index.ts';
import { checkDialects, checkGradient, isForDevice, placementOnDevice, runOnce } from './gradcheck.ts';
import { hasAdapter } from './adapter.ts';
import { elementwiseCases } from './gradcheck-elementwise-cases.ts';
import { tensorCases } from './gradcheck-tensor-cases.ts';

const opCases = [...elementwiseCases, ...tensorCases];

test('every op of the table has a case: with a gradient if it has a rule, else with expected values', () => {
  const lacking = [...opTable.values()].filter(({ name, vjp }) => {
    const cases = opCases.filter(
      (each) => each.op === name && each.build().nodes.some((n) => n.op.name === name),
    );
    return typeof vjp === 'function'
      ? !cases.some(({ wrt = [] }) => wrt.length > 0)
      : !cases.some(({ wrt = [], expected }) => wrt.length > 0 || expected !== undefined);
  });
  expect(lacking.map(({ name }) => name)).toEqual([]);
});

test.each(opCases.filter(({ wrt = [] }) => wrt.length > 0))(
  'gradient in float64: $title',
  async ({ build, ...options }) => {
    for (const seed of [1, 2]) {
      const comparisons = await checkGradient(build(), { ...options, seed });
      expect(comparisons.length).toBeGreaterThan(0);
      for (const comparison of comparisons)
        expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(1e-6);
    }
  },
);

test.each(opCases)('cpu in float32 against reference in float64: $title', async ({ build, ...options }) => {
  for (const comparison of await checkDialects(build(), options)) {
    expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(2e-6);
  }
});

test.runIf(hasAdapter).each(opCases.filter(({ build }) => isForDevice(build())))(
  'webgpu in float32 against reference in float64: $title',
  async ({ build, ...options }) => {
    for (const comparison of await checkDialects(build(), options, 'webgpu')) {
      expect(comparison.relativeError, JSON.stringify(comparison)).toBeLessThan(1e-5);
    }
  },
);

test.runIf(hasAdapter)('a GPU computes every op but those no stage uses', () => {
  const stray = new Set(strayNodes(placementOnDevice()).map(({ opType }) => opType));
  // Casts of this kind are to and from float64.
  expect([...stray].sort()).toEqual(['Cast', 'Cos', 'Sin']);
});

test.each(opCases.filter((each) => each.expected !== undefined))(
  'values by a plain formula: $title',
  async ({ build, expected, ...options }) => {
    const { feeds, results } = await runOnce(build(), options);
    const arrays = Object.entries(feeds).map(
      ([name, view]) => [name, Array.from(view.data, Number)] as const,
    );
    const want = expected?.(Object.fromEntries(arrays)) ?? [];
    const got = Array.from(results['y']?.data ?? [], Number);
    expect(got).toHaveLength(want.length);
    got.forEach((value, i) => expect(value).toBeCloseTo(want[i] ?? NaN, 5));
  },
);
