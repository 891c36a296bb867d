import { expect, test } from 'vitest';
import { routingOf } from '#worker/model/index.ts';
import { contextOf, passThrough, scoresOf, tokenIds_N } from './f0.fixture.ts';
import { startMethod } from './index.ts';

test.each([false, true])(
  'training mixes all experts by their probability, normalised: %s',
  async (normalise) => {
    const context = contextOf(1, normalise);
    const { y } = await passThrough(startMethod('ds-moe', {}, context), context);
    // Σ_e p_e E_e(x) with p of token 0 [.524185, .317934, .157881] and of token 1 [.281408, .463963, .254629].
    const expected = [
      0.524185 + 2 * 0.317934 - 0.5 * 0.157881,
      0.5 * 0.157881,
      0.5 * 0.254629,
      0.281408 + 2 * 0.463963 - 0.5 * 0.254629,
    ];
    y.flat().forEach((value, i) => expect(value).toBeCloseTo(expected[i] ?? NaN, 5));
  },
);

test('the trained model routes as the checkpoint does', async () => {
  const context = contextOf(2);
  const session = startMethod('ds-moe', {}, context);
  const used = await passThrough({ ...session, routing: routingOf(session, 'inference') }, context);
  expect(used).toEqual(await passThrough(startMethod('full', {}, context), context));
});

test('statistics count what inference would choose', async () => {
  const session = startMethod('ds-moe', {}, contextOf(1));
  const { chosen_NK, k, always } = session.routing.choose(await scoresOf(session), tokenIds_N, 0);
  expect([k, [...chosen_NK], [...always]]).toEqual([1, [0, 1], [0, 1, 2]]);
});

test('the loss is there unless its coefficient is zero', () => {
  const losses = (options: Record<string, unknown>) =>
    startMethod('ds-moe', options, contextOf(1)).losses.map(({ name, coefficient }) => [name, coefficient]);
  expect(losses({})).toEqual([['mutual information', 0.01]]);
  expect(losses({ mutualInformationCoefficient: 0 })).toEqual([]);
});
