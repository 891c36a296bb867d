import { expect, test } from 'vitest';
import { allocateCondensers, selectCondensers } from './condenser-selection.ts';
import { moveBias, type BiasRule } from './router-bias.ts';

test('the lowest bias, ties by soft usage, then by index', () => {
  expect(selectCondensers([0.5, -1.5, 0.25, -0.75], [1, 1, 1, 1], 2)).toEqual([1, 3]);
  expect(selectCondensers([-0.2, 1.3, -1.9, 0.4], [1, 1, 1, 1], 2)).toEqual([2, 0]);
  expect(selectCondensers([-0.5, 0.5, -0.5, -0.5], [3, 1, 2, 2], 2)).toEqual([2, 3]);
  expect(selectCondensers([0, 0], [1, 2], 0)).toEqual([]);
  expect(() => selectCondensers([0, 0], [1, 2], 1)).toThrow('every router bias is zero');
});

test('water filling: full layers give their share to the others, remainders to the largest', () => {
  expect(allocateCondensers([8, 2, 1, 1], 6, 4)).toEqual([4, 1, 1, 0]);
  expect(allocateCondensers([0.6, 0.5, 0.4], 6, 4)).toEqual([2, 2, 2]);
  expect(allocateCondensers([1, 0, 0], 5, 3, 1)).toEqual([3, 1, 1]);
  expect(allocateCondensers([0, 0], 8, 4)).toEqual([4, 4]);
});

test('a total that does not fit says what does', () => {
  expect(() => allocateCondensers([1, 1], 9, 4)).toThrow(
    expect.objectContaining({ code: 'expert-condenser/allocation', hint: 'Choose a total between 0 and 8.' }),
  );
});

const rule: BiasRule = { usage: 'soft', padsInUsage: false, dtype: 'float32', clip: null };

test('a bias rises with more than mean usage and falls with less', () => {
  const bias = Float32Array.of(0, 0, 0);
  moveBias(bias, [4, 1, 2.5], 0.25, rule);
  expect([...bias]).toEqual([0.25, -0.25, 0]);
  moveBias(bias, [4, 1, 2.5], 0.25, { ...rule, clip: 0.3 });
  expect([...bias]).toEqual([Math.fround(0.3), Math.fround(-0.3), 0]);
});

/** The first of two biases after so many updates; the other moves as far down. */
function biasAfter(updates: number, speed: number, options: Partial<BiasRule> = {}, from = 0): number {
  const bias = Float32Array.of(from, -from);
  for (let i = 0; i < updates; i++) moveBias(bias, [1, 0], speed, { ...rule, ...options });
  return bias[0] ?? NaN;
}

test('the gap between two experts grows with speed times updates', () => {
  expect(biasAfter(500, 1e-3)).toBeCloseTo(0.4999971, 7);
  // Odds of the two experts.
  expect(Math.exp(2 * biasAfter(500, 1e-3))).toBeCloseTo(Math.E, 4);
  expect(Math.exp(2 * biasAfter(500, 1e-4))).toBeCloseTo(1.105, 3);
  expect([219, 438].map((updates) => biasAfter(updates, 1e-3))).toEqual([
    expect.closeTo(0.219, 5),
    expect.closeTo(0.438, 5),
  ]);
});

// Adding less than half a unit of the last place to a bfloat16 changes nothing.
test.each([
  { speed: 1e-3, updates: 383, value: 0.5 },
  { speed: 1e-4, updates: 273, value: 0.03125 },
  { speed: 5e-5, updates: 273, value: 0.015625 },
])('a bfloat16 bias stops at $value by updates of $speed', ({ speed, updates, value }) => {
  const after = (count: number) => biasAfter(count, speed, { dtype: 'bfloat16' });
  expect(after(updates - 1)).toBeLessThan(value);
  expect([after(updates), after(updates + 1000)]).toEqual([value, value]);
});

test('where a bfloat16 bias of the first phase stopped, the second phase does not move it', () => {
  expect(biasAfter(100, 5e-5, { dtype: 'bfloat16' }, 0.5)).toBe(0.5);
  expect(biasAfter(219, 1e-3, { dtype: 'bfloat16' })).toBe(0.21484375);
});
