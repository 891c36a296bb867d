import { expect, test } from 'vitest';
import { routingOf } from '#worker/model/index.ts';
import { contextOf, passThrough } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const undivided = [-0.063207, 0.279597, -0.216389, -0.047368, 0.153885, -0.106517];

test.each([
  // Without division the router gradient does not depend on how many experts are chosen.
  { k: 1, normalise: false, denseWeights: 'p/S', dLogits: undivided },
  { k: 2, normalise: false, denseWeights: 'p/S', dLogits: undivided },
  {
    k: 1,
    normalise: true,
    denseWeights: 'p/S',
    dLogits: [-0.596398, 0.851328, -0.25493, 0.179314, -0.204361, 0.025047],
  },
  {
    k: 2,
    normalise: true,
    denseWeights: 'p/S',
    dLogits: [-0.210435, 0.249905, -0.03947, -0.141535, 0.077878, 0.063657],
  },
  { k: 1, normalise: true, denseWeights: 'p', dLogits: undivided },
  { k: 2, normalise: true, denseWeights: 'p', dLogits: undivided },
])('k = $k, normalised: $normalise, $denseWeights', async ({ k, normalise, denseWeights, dLogits }) => {
  const context = contextOf(k, normalise);
  const result = await passThrough(startMethod('densemixer', { denseWeights }, context), context);
  const plain = await passThrough(startMethod('full', {}, context), context);
  expect(result.y).toEqual(plain.y);
  result.dLogits.forEach((value, i) => expect(value).toBeCloseTo(dLogits[i] ?? NaN, 5));
});

test('the trained model needs nothing of it', () => {
  const session = startMethod('densemixer', {}, contextOf(2));
  expect(session.routing.dense).toBeDefined();
  expect(routingOf(session, 'inference').dense).toBeUndefined();
});

test('auxiliary losses may be added', () => {
  const { losses } = startMethod('densemixer', { auxLossCoefficient: 0.01 }, contextOf(2));
  expect(losses.map(({ name }) => name)).toEqual(['load balancing']);
});
