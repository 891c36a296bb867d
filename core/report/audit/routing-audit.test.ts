import { expect, test } from 'vitest';
import { auditLayer, auditWords, profileLayer, spearman, type PromptUsage } from './routing-audit.ts';

/** Numbers between 0 and 1 that depend on the name alone. */
function draw(name: string, count: number): Float64Array {
  let state = name.split('').reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  });
}

/** Usage of 6 experts by 40 prompts, two choices a token: noise around a third, and `shift` from expert 5 to expert 2. */
function usage(name: string, shift: number): PromptUsage {
  return Array.from({ length: 40 }, (_, prompt) => {
    const frequency_E = draw(`${name} ${prompt}`, 6).map((x) => 1 / 3 + 0.1 * (x - 0.5));
    frequency_E[2] = (frequency_E[2] ?? 0) + shift;
    frequency_E[5] = (frequency_E[5] ?? 0) - shift;
    return frequency_E;
  });
}

const still = new Float64Array(6);
const benign = usage('benign', 0);
const base = profileLayer(usage('refused', 0.15), benign, draw);

test('an expert that refused requests use more is profiled, and no other', () => {
  expect(base.experts).toEqual([2]);
  expect(profileLayer(usage('refused', 0), benign, draw).experts).toEqual([]);
  // Used more, but less than the mean of the layer.
  const rare = (list: PromptUsage) =>
    list.map((frequency_E) => frequency_E.map((f, e) => (e === 2 ? f / 10 : f)));
  expect(profileLayer(rare(usage('refused', 0.15)), rare(benign), draw).experts).toEqual([]);
});

test('a model against itself: everything is kept and nothing is flagged', () => {
  const same = { layer: 3, refusedDrift: 0, benignDrift: 0, weightChange_E: still };
  const audit = auditLayer(base, profileLayer(usage('refused', 0.15), benign, draw), same);
  expect(audit).toMatchObject({ jaccard: 1, correlation: 1, retention: 1, driftRatio: null, flags: [] });
  expect(auditWords([audit]).join(' ')).toMatch(/No layer is beyond the limits\. That is no certificate/);
});

test('a model that lost the profiled routing needs review', () => {
  const tuned = profileLayer(usage('tuned', -0.1), usage('other', 0), draw);
  const audit = auditLayer(base, tuned, {
    layer: 3,
    refusedDrift: 0.3,
    benignDrift: 0.1,
    weightChange_E: Float64Array.of(0.1, 0.1, 0.6, 0.1, 0.1, 0.1),
    condensers: [2, 4],
    bias_E: [0, 0, -0.5, 0, 0, 1],
  });
  expect(audit.flags).toEqual(['correlation', 'retention', 'drift']);
  expect(audit).toMatchObject({ jaccard: 0, profiledBase: 1, profiledCondensers: 1, profiledLowered: 1 });
  expect(audit.retention).toBeCloseTo((1 / 3 - 0.1) / (1 / 3 + 0.15), 1);
  expect(audit.driftRatio).toBeCloseTo(3, 12);
  expect([audit.profiledWeightChange, audit.otherWeightChange]).toEqual([0.6, 0.1]);
  expect(auditWords([audit]).join(' ')).toMatch(/Needs review: 1 of 1 layers/);
  // Aggregates only: no list but that of the flags.
  expect(Object.entries(audit).filter(([, value]) => Array.isArray(value))).toEqual([['flags', audit.flags]]);
});

test('rank correlation: ties share ranks, a constant side has none', () => {
  expect(spearman(Float64Array.of(1, 2, 3), Float64Array.of(10, 20, 90))).toBeCloseTo(1, 12);
  expect(spearman(Float64Array.of(1, 2, 3), Float64Array.of(3, 2, 1))).toBeCloseTo(-1, 12);
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
  expect(spearman(Float64Array.of(1, 2, 2, 3), Float64Array.of(1, 2, 3, 4))).toBeCloseTo(
    4.5 / Math.sqrt(22.5),
    12,
  );
  expect(spearman(Float64Array.of(1, 1), Float64Array.of(1, 2))).toBe(0);
  expect(spearman(Float64Array.of(1, 1), Float64Array.of(2, 2))).toBe(1);
});
