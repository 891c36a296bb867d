import { expect, test } from 'vitest';
import { condenserTailCorrelation, coSelection_EE, cosines_EE, OutputCosines } from './expert-correlation.ts';
import { effectiveUpdates_E, expectedUpdates, starvation } from './expert-updates.ts';
import { massiveExperts } from './massive-experts.ts';
import { DriftSum, RoutingSum } from './token-routing.ts';

const all = () => true;
/** Logits whose softmax is `rows`. */
const logits = (...rows: readonly (readonly number[])[]) => Float32Array.from(rows.flat(), Math.log);

test('usage of two tokens, and of one of them', () => {
  const routing = {
    logits_NE: logits([0.5, 0.3, 0.2], [0.1, 0.2, 0.7]),
    chosen_NK: [0, 1, 2, 1],
    k: 2,
  };
  const both = new RoutingSum(3);
  both.add(routing, all);
  expect([...both.counts_E]).toEqual([1, 2, 1]);
  expect([...both.activationFrequency_E()]).toEqual([0.5, 1, 0.5]);
  [0.5, 0.5, 0.7].forEach((mass, e) => expect(both.mass_E[e]).toBeCloseTo(mass, 6));
  [0.6, 0.5, 0.9].forEach((soft, e) => expect(both.soft_E[e]).toBeCloseTo(soft, 6));
  const second = new RoutingSum(3);
  second.add({ ...routing, weights_NE: Float32Array.of(9, 9, 9, 0, 0.25, 0.75) }, (token) => token === 1);
  expect([second.tokens, ...second.counts_E, ...second.mass_E]).toEqual([1, 0, 1, 1, 0, 0.25, 0.75]);
  const fewer = new RoutingSum(3);
  fewer.add({ ...routing, chosen_NK: [0, -1, 2, -1] }, all);
  expect([...fewer.counts_E]).toEqual([1, 0, 1]);
});

test('token and gate scores of experts from what tokens chose, with which weights', () => {
  const pairs = [
    { chosen: [0, 1], weights: [0.6, 0.2] },
    { chosen: [0, 2], weights: [0.5, 0.3] },
    { chosen: [1, 0], weights: [0.55, 0.25] },
    { chosen: [3, 0], weights: [0.7, 0.1] },
  ];
  const sum = new RoutingSum(4);
  const weights_NE = new Float32Array(16);
  pairs.forEach(({ chosen, weights }, t) =>
    chosen.forEach((expert, slot) => (weights_NE[4 * t + expert] = weights[slot] ?? NaN)),
  );
  const chosen_NK = pairs.flatMap(({ chosen }) => chosen);
  sum.add({ logits_NE: new Float32Array(16), chosen_NK, k: 2, weights_NE }, all);
  expect([...sum.counts_E].map((count) => count / 8)).toEqual([0.5, 0.25, 0.125, 0.125]);
  [0.3625, 0.1875, 0.075, 0.175].forEach((gate, e) =>
    expect((sum.mass_E[e] ?? NaN) / sum.tokens).toBeCloseTo(gate, 6),
  );
});

test('drift of a router from itself is none, and from another what the definitions say', () => {
  const base = { logits_NE: logits([0.5, 0.3, 0.2]), chosen_NK: [0, 1], k: 2 };
  const same = new DriftSum(3);
  same.add(base, base, all);
  expect(same.means()).toEqual({ kl: 0, js: 0, tv: 0, topKJaccard: 1, topOneFlipRate: 0 });
  const other = { logits_NE: logits([0.3, 0.4, 0.3]), chosen_NK: [1, 0], k: 2 };
  const drift = new DriftSum(3);
  drift.add(base, other, all);
  expect(drift.means().kl).toBeCloseTo(0.088015, 6);
  expect(drift.means().tv).toBeCloseTo(0.2, 6);
  expect([drift.means().topKJaccard, drift.means().topOneFlipRate]).toEqual([1, 1]);
  expect(() => new DriftSum(3).means()).toThrow('no token');
});

test('co-selection and cosine of the worked columns', () => {
  // Columns [1,0,1,0] and [1,0,0,0]; an expert chosen by every token; one chosen by none.
  const sum = new RoutingSum(4);
  const choices = [[0, 1, 2], [2], [0, 2], [2]];
  for (const chosen_NK of choices) {
    sum.add({ logits_NE: new Float32Array(4), chosen_NK, k: chosen_NK.length }, all);
  }
  const phi = coSelection_EE(sum);
  expect(phi[1]).toBeCloseTo(0.57735, 6);
  expect([phi[2], phi[3], phi[10], phi[15]]).toEqual([0, 0, 1, 1]);
  expect(cosines_EE([1, 0, 1, 0, 1, 0, 0, 0], 2)[1]).toBeCloseTo(Math.SQRT1_2, 12);
  expect([...cosines_EE([0, 0, 1, 2], 2)].slice(0, 2)).toEqual([0, 0]);
  const outputs = new OutputCosines(2);
  outputs.add([1, 0, 1, 0]);
  outputs.add([1, 0, 0, 5]);
  expect(outputs.mean_EE()[1]).toBeCloseTo(0.5, 12);
});

test('condensers are compared with the least used half of the others', () => {
  const correlation = Float64Array.from({ length: 16 }, (_, at) => at / 10);
  // Tail of [9, 1, 2, 8] without expert 1: experts 2 and 3.
  expect(condenserTailCorrelation(correlation, [9, 1, 2, 8], [1])).toBeCloseTo((0.6 + 0.7) / 2, 12);
  expect(condenserTailCorrelation(correlation, [9, 1, 2, 8], [])).toBeNull();
});

test('starvation compares the lower half with the top quarter; experts that do not train are left out', () => {
  const worked = starvation([3, 0, 1.5, 0.2, 4, 0.1, 0.6, 2]);
  expect(worked?.medianBottomHalf).toBeCloseTo(0.15, 12);
  expect(worked?.medianTopQuarter).toBe(3.5);
  expect(worked?.zeroGradientRate).toBe(1 / 8);
  expect(starvation([NaN, 1, NaN, 3])?.ratio).toBeCloseTo(1 / 3, 12);
  expect(starvation([NaN, 2])).toBeNull();
});

test('updates of an expert, counted and expected', () => {
  expect(
    effectiveUpdates_E([
      [4, 0, 1],
      [2, 0, 0],
      [0, 1, 3],
      [5, 0, 0],
    ]),
  ).toEqual([3, 1, 2]);
  expect(expectedUpdates(0.01, 1, 100)).toBeCloseTo(1, 12);
  expect(expectedUpdates(0.01, 32, 100)).toBeCloseTo(27.502, 3);
  expect(expectedUpdates(0.1, 32, 100)).toBeCloseTo(96.566, 3);
});

test('massive experts stand out of all layers, and a layer without massive activations has none', () => {
  const quiet = Array.from({ length: 200 }, (_, e) => 1 + e / 1000);
  const loud = quiet.with(7, 50);
  expect(massiveExperts([quiet, loud])).toEqual([{ layer: 1, expert: 7 }]);
  expect(massiveExperts([quiet, loud], [0])).toEqual([]);
  // Above the percentile, but below a tenth of the largest.
  expect(massiveExperts([quiet.with(1, 3), quiet.with(0, 100)])).toEqual([{ layer: 1, expert: 0 }]);
});
