import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import {
  deadExperts,
  gini,
  heaviest,
  jensenShannon,
  klDivergence,
  loadMetrics,
  overloaded,
  topShare,
  totalVariation,
} from './routing-metrics.ts';

test('four experts, worked by hand', () => {
  const metrics = loadMetrics([50, 30, 15, 5]);
  expect(metrics.gini).toBeCloseTo(0.375, 12);
  expect(metrics.entropyNormalised).toBeCloseTo(0.823865, 6);
  expect(metrics.effectiveExperts).toBeCloseTo(3.133404, 6);
  expect(metrics.coefficientOfVariation).toBeCloseTo(0.678233, 6);
  expect(metrics.maxOverMean).toBe(2);
  expect(metrics.tailHalfShare).toBeCloseTo(0.2, 12);
  expect(metrics.tailQuarterShare).toBeCloseTo(0.05, 12);
  expect([metrics.dead, metrics.belowTenthOfMean, metrics.expertsForHalf]).toEqual([0, 0, 1]);
  const other = [40, 30, 20, 10];
  expect(klDivergence([50, 30, 15, 5], other)).toBeCloseTo(0.033762, 6);
  expect(jensenShannon([50, 30, 15, 5], other)).toBeCloseTo(0.008823, 6);
  expect(totalVariation([50, 30, 15, 5], other)).toBeCloseTo(0.1, 12);
});

test('uniform and one-expert loads are the two ends', () => {
  const uniform = loadMetrics([7, 7, 7, 7]);
  expect(uniform.gini).toBeCloseTo(0, 12);
  expect([uniform.entropyNormalised, uniform.maxOverMean, uniform.expertsForHalf]).toEqual([1, 1, 2]);
  const one = loadMetrics(Uint32Array.of(0, 0, 9, 0));
  expect([one.gini, one.entropyNormalised, one.dead, one.belowTenthOfMean, one.expertsForHalf]).toEqual([
    0.75, 0, 3, 3, 1,
  ]);
  expect(klDivergence([1, 1], [1, 0])).toBe(Infinity);
  expect(jensenShannon([1, 0], [0, 1])).toBeCloseTo(Math.LN2, 12);
});

test('the Gini coefficient does not depend on the scale of the counts', () => {
  const counts = Array.from({ length: 60 }, (_, i) => (i * 37) % 61);
  expect(gini(counts.map((count) => 2 * count))).toBeCloseTo(gini(counts), 12);
});

test('top share and overloaded experts', () => {
  expect(topShare([1, 2, 3, 4], 2)).toBeCloseTo(0.7, 12);
  expect(topShare([1, 2], 9)).toBe(1);
  expect(overloaded([10, 1, 1, 28], 1)).toEqual([3]);
  expect(overloaded([16, 1, 1, 22], 1.5)).toEqual([3, 0]);
});

test('always-active experts are not dead, and of equal experts the first is the heaviest', () => {
  expect(deadExperts([0, 3, 0, 0])).toEqual([0, 2, 3]);
  expect(deadExperts([0, 3, 0, 0], [2, 3])).toEqual([0]);
  expect(deadExperts([0, 0])).toEqual([]);
  expect([heaviest([1, 5, 5]), heaviest([0, 0])]).toEqual([1, 0]);
});

test('a layer without selections has no metrics', () => {
  expect(() => loadMetrics([0, 0])).toThrow('without selections');
});

interface GoldenLoad {
  readonly count: number[];
  readonly gate_mass: number[];
  readonly load: Record<string, number>;
  readonly gate_mass_load: Record<string, number>;
}
interface Golden {
  readonly tolerances: { readonly relative: number; readonly absolute: number };
  readonly expected: {
    readonly layers: Record<string, { base: GoldenLoad; tuned: GoldenLoad; drift: Record<string, number> }>;
  };
}

test('agrees with the reference implementation on base and tuned routing', ({ skip }) => {
  const file = path.resolve('../shared/golden/methods/routing-metrics-olmoe/case.json');
  if (!existsSync(file)) skip('the reference cases are not beside this checkout');
  const golden = JSON.parse(readFileSync(file, 'utf8')) as Golden;
  const { absolute, relative } = golden.tolerances;
  let compared = 0;
  const check = (got: number, want: number | undefined, what: string) => {
    expect(want, what).toBeTypeOf('number');
    expect(Math.abs(got - (want ?? 0)), what).toBeLessThanOrEqual(absolute + relative * Math.abs(want ?? 0));
    compared++;
  };
  for (const [layer, { base, tuned, drift }] of Object.entries(golden.expected.layers)) {
    for (const side of [base, tuned]) {
      for (const [values, want] of [
        [side.count, side.load],
        [side.gate_mass, side.gate_mass_load],
      ] as const) {
        const got = loadMetrics(values);
        check(got.gini, want['gini'], `layer ${layer} gini`);
        check(got.entropyNormalised, want['entropy_normalised'], `layer ${layer} entropy`);
        check(got.effectiveExperts, want['effective_experts'], `layer ${layer} effective experts`);
        check(got.coefficientOfVariation, want['cv'], `layer ${layer} cv`);
        check(got.maxOverMean, want['max_over_mean'], `layer ${layer} max over mean`);
        check(got.maxOverMean - 1, want['max_violation'], `layer ${layer} max violation`);
        check(got.tailHalfShare, want['tail_half_share'], `layer ${layer} tail half`);
        check(got.tailQuarterShare, want['tail_quarter_share'], `layer ${layer} tail quarter`);
        check(got.dead, want['never_hit'], `layer ${layer} never hit`);
        check(got.belowTenthOfMean, want['below_tenth_of_mean'], `layer ${layer} below tenth`);
        check(got.expertsForHalf, want['experts_for_half_of_selections'], `layer ${layer} experts for half`);
      }
    }
    check(klDivergence(base.count, tuned.count), drift['selection_share_kl'], `layer ${layer} KL`);
    check(jensenShannon(base.count, tuned.count), drift['selection_share_js'], `layer ${layer} JS`);
    check(totalVariation(base.count, tuned.count), drift['selection_share_tv'], `layer ${layer} TV`);
  }
  expect(compared).toBe(2 * (2 * 2 * 11 + 3));
});
