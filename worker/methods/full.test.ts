import { expect, test } from 'vitest';
import { contextOf, passThrough } from './f0.fixture.ts';
import { startMethod } from './index.ts';

test.each([
  {
    k: 1,
    normalise: false,
    y: [0.524185, 0, 0, 0.927927],
    dLogits: [0.249415, -0.166656, -0.082759, -0.130563, 0.248701, -0.118138],
  },
  // One expert with weight 1 whatever its logit: the router gets no gradient.
  { k: 1, normalise: true, y: [1, 0, 0, 2], dLogits: [0, 0, 0, 0, 0, 0] },
  {
    k: 2,
    normalise: false,
    y: [1.160053, 0, 0, 1.209335],
    dLogits: [-0.083897, 0.267048, -0.183151, -0.029454, 0.18342, -0.153966],
  },
  {
    k: 2,
    normalise: true,
    y: [1.377541, 0, 0, 1.622459],
    dLogits: [-0.235004, 0.235004, 0, -0.117502, 0.117502, 0],
  },
])('plain routing, k = $k, normalised: $normalise', async ({ k, normalise, y, dLogits }) => {
  const context = contextOf(k, normalise);
  const result = await passThrough(startMethod('full', {}, context), context);
  result.y.flat().forEach((value, i) => expect(value).toBeCloseTo(y[i] ?? NaN, 5));
  result.dLogits.forEach((value, i) => expect(value).toBeCloseTo(dLogits[i] ?? NaN, 5));
});

test('an expert that no token chooses gets no gradient', async () => {
  const context = contextOf(1);
  const { dSlopes } = await passThrough(startMethod('full', {}, context), context);
  [0.524185, 0.231982, 0].forEach((value, e) => expect(dSlopes[e]).toBeCloseTo(value, 5));
  // Neither does it under DenseMixer, which changes what the router learns.
  expect((await passThrough(startMethod('densemixer', {}, context), context)).dSlopes).toEqual(dSlopes);
});

test('auxiliary losses are there when asked for', () => {
  const losses = (options: Record<string, unknown>) =>
    startMethod('full', options, contextOf(2)).losses.map(({ name, coefficient, accumulation }) => [
      name,
      coefficient,
      accumulation,
    ]);
  expect(losses({})).toEqual([]);
  expect(losses({ auxLossCoefficient: 0.01, zLossCoefficient: 0.001, auxAccumulation: 'sum' })).toEqual([
    ['load balancing', 0.01, 'sum'],
    ['router z', 0.001, 'sum'],
  ]);
});

test('an unknown method or option is named with the nearest one', () => {
  expect(() => startMethod('ful', {}, contextOf(1))).toThrow('did you mean full?');
  expect(() => startMethod('full', { zLoss: 1 }, contextOf(1))).toThrow('unknown field zLoss');
});
