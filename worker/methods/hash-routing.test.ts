import { expect, test } from 'vitest';
import { contextOf, passThrough, tokenIds_N } from './f0.fixture.ts';
import { startMethod } from './index.ts';

const scores_NE = Float32Array.of(0.9, 0.1, 0, 0.9, 0.1, 0);

/** A session whose table sends tokens 2 and 3 to experts 1 and 2. */
function given(options: Record<string, unknown>, k = 1) {
  const context = {
    ...contextOf(k),
    readTokenExperts: () => [k === 1 ? Int32Array.of(0, 0, 1, 2) : Int32Array.of(0, 1, 0, 1, 1, 2, 2, 0)],
  };
  return { session: startMethod('hash-routing', { tableFile: 'table', ...options }, context), context };
}

test('the table decides, whatever the router says', () => {
  const { session } = given({});
  expect([...session.routing.choose(scores_NE, tokenIds_N, 0).chosen_NK]).toEqual([1, 2]);
  expect([...session.routing.choose(scores_NE, Int32Array.of(3, 0), 0).chosen_NK]).toEqual([2, 0]);
});

test('even weights: the output is the mean of the experts, and the router learns nothing', async () => {
  const { session, context } = given({}, 2);
  // ½ (2 x₀ − x₀ + ½), ½ (x₁ · −1 + ½ + x₁).
  const { y, dLogits } = await passThrough(session, context);
  expect(y).toEqual([
    [0.75, 0.25],
    [0.25, 0.25],
  ]);
  expect(dLogits.map(Math.abs)).toEqual(new Array(6).fill(0));
  const router = { id: 'layers.0.router', role: 'router', layer: 0, expert: null, shape: [3, 2] } as const;
  expect(session.trainable(router)).toBe(false);
  expect(given({ weights: 'published' }).session.trainable(router)).toBe(true);
});

test('published weights: those the router gives the experts of the table', async () => {
  const { session, context } = given({ weights: 'published' });
  const { y } = await passThrough(session, context);
  expect(y[0]?.[0]).toBeCloseTo(2 * 0.317934, 5);
  expect(y[1]?.[0]).toBeCloseTo(0.254629 * 0.5, 5);
});

test('a restored session has the table of the seed and data it was saved with', () => {
  const context = { ...contextOf(1), seed: 11, tokenCounts: () => Uint32Array.of(7, 3, 2, 2) };
  const first = startMethod('hash-routing', {}, context);
  const later = startMethod('hash-routing', {}, contextOf(1));
  expect(later.routerState().tokenExperts).not.toEqual(first.routerState().tokenExperts);
  later.restore(JSON.parse(JSON.stringify(first.save())));
  expect(later.routerState().tokenExperts).toEqual(first.routerState().tokenExperts);
});
