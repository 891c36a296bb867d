import { expect, test } from 'vitest';
import { gateFeatures, mixLosses, mixRows } from './output-mixture.ts';

const base = [0.7, 0.2, 0.1];
const local = [0.1, 0.8, 0.1];
const SHARE = 0.75;

test('the worked example: [¼, .65, .1], loss .430783, and the gradient of the share −.923077', () => {
  const { loss, local: answered } = mixLosses(SHARE, -Math.log(0.2), -Math.log(0.8));
  expect(loss).toBeCloseTo(0.430783, 6);
  expect((SHARE - answered) / (SHARE * (1 - SHARE))).toBeCloseTo(-0.923077, 6);
});

test('rows of logits are mixed as probabilities, whatever is added to them', () => {
  const logits = (probabilities: readonly number[], shift: number) =>
    Float32Array.from([...probabilities, ...probabilities], (p) => Math.log(p) + shift);
  const mixed = logits(local, 90);
  mixRows(Float32Array.of(SHARE, 0), logits(base, -70), mixed);
  [0.25, 0.65, 0.1, ...base].forEach((p, i) => expect(Math.exp(mixed[i] ?? NaN)).toBeCloseTo(p, 5));
});

test('a closed gate leaves the loss of the base, and an open one that of the local experts', () => {
  expect(mixLosses(0, 1.5, 200)).toEqual({ loss: 1.5, local: 0 });
  expect(mixLosses(1, 1.5, 200)).toEqual({ loss: 200, local: 1 });
  expect(mixLosses(0.5, 900, 900).loss).toBeCloseTo(900, 9);
});

test('a gate reads rows of root mean square 1', () => {
  expect([...gateFeatures(Float32Array.of(3, 4, 0, 0), 2)]).toEqual([
    Math.fround(3 / Math.sqrt(12.5)),
    Math.fround(4 / Math.sqrt(12.5)),
    0,
    0,
  ]);
});
