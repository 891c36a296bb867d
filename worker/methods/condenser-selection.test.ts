import { expect, test } from 'vitest';
import { allocateCondensers, gini, selectCondensers } from './condenser-selection.ts';
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

test('gini', () => {
  expect(gini([5, 5, 5, 5])).toBeCloseTo(0);
  expect(gini([0, 0, 0, 8])).toBeCloseTo(0.75);
  expect(gini([1, 2, 3, 4])).toBeCloseTo(0.25);
  expect(gini([0, 0])).toBe(0);
});

const rule: BiasRule = { usage: 'soft', padsInUsage: false, dtype: 'float32', clip: null };

test('a bias rises with more than mean usage and falls with less', () => {
  const bias = Float32Array.of(0, 0, 0);
  moveBias(bias, [4, 1, 2.5], 0.25, rule);
  expect([...bias]).toEqual([0.25, -0.25, 0]);
  moveBias(bias, [4, 1, 2.5], 0.25, { ...rule, clip: 0.3 });
  expect([...bias]).toEqual([Math.fround(0.3), Math.fround(-0.3), 0]);
});

test('a bfloat16 bias stops at one half after 383 updates of 0.001', () => {
  const bias = new Float32Array(2);
  let updates = 0;
  for (let before = NaN; bias[0] !== before; updates++) {
    before = bias[0] ?? 0;
    moveBias(bias, [1, 0], 1e-3, { ...rule, dtype: 'bfloat16' });
  }
  // The last one changed nothing.
  expect([bias[0], updates - 1]).toEqual([0.5, 383]);
});
