import { expect, test } from 'vitest';
import { alignCurves, axisLabels, niceCeil, niceRange, smooth } from './series.ts';
import { sparkPath } from './spark-line.tsx';

test('curves with different steps share one axis, with gaps where a curve has no point', () => {
  const aligned = alignCurves([
    { x: [1, 2, 3], y: [9, 8, 7] },
    { x: [0, 2], y: [5, 4] },
  ]);
  expect(aligned.x).toEqual([0, 1, 2, 3]);
  expect(aligned.ys).toEqual([
    [null, 9, 8, 7],
    [5, null, 4, null],
  ]);
});

test('smoothing starts at the first point, keeps a constant, and passes over what is not finite', () => {
  expect(smooth([4, 4, 4], 20)).toEqual([4, 4, 4]);
  const [first, second, third] = smooth([1, Number.NaN, 3], 3);
  expect([first, second]).toEqual([1, 1]);
  // keep = 1/2: (½·½·1 … ) with bias correction: (0.25 + 1.5) / 0.75 over two finite points.
  expect(third).toBeCloseTo((0.5 * 0.5 * 1 + 0.5 * 3) / 0.75, 12);
});

test('axes end on round numbers and do not go below zero for positive data', () => {
  expect([0.9, 1, 3, 680, 12].map(niceCeil)).toEqual([1, 1, 5, 1000, 20]);
  const [low, high] = niceRange(1.21, 2.47);
  expect([low, high]).toEqual([1, 2.6]);
  expect(niceRange(0.01, 0.02)[0]).toBeGreaterThanOrEqual(0);
  expect(niceRange(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)).toEqual([0, 1]);
});

test('ticks of a linear axis have equal decimals, those of a logarithmic one their own', () => {
  expect(axisLabels([0.45, 0.5, 0.55, null], false)).toEqual(['0.45', '0.50', '0.55', '']);
  expect(axisLabels([-0.1, 0, 0.1 + 0.2], false)).toEqual(['-0.1', '0', '0.3']);
  expect(axisLabels([0, 5000, 10_000], false)).toEqual(['0', '5000', '10000']);
  expect(axisLabels([0.01, 0.1, 1, 10], true)).toEqual(['0.01', '0.1', '1', '10']);
  expect(axisLabels([0, 2e-5, 2_500_000], false)).toEqual(['0', '2e-5', '2.5e+6']);
});

test('a spark line needs two points and is flat for a constant', () => {
  expect(sparkPath([1], 200, 22)).toBe('');
  expect(sparkPath([2, 2], 200, 22)).toBe('M0.0 11.0L200.0 11.0');
});
