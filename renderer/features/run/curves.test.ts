import { expect, test } from 'vitest';
import { stepMetrics } from '../../api/fake-entries.ts';
import { axisOf, lastShown, linesOf, markersOf, smoothSpan } from './curves.ts';
import { secondsLeft, stepSeconds } from './time-left.ts';

const steps = [1, 2, 3].map((step) => stepMetrics(step));

test('the axis of steps grows in steps to the end of the run', () => {
  expect([1, 3, 12, 12.5, 60, 999, 1200, 2000].map((step) => lastShown(step, 2000))).toEqual([
    2, 10, 25, 25, 200, 2000, 2000, 2000,
  ]);
  expect(lastShown(3)).toBe(10);
});

test('the axis counts steps, tokens or seconds, and leads back to steps', () => {
  expect(axisOf(steps, 'step').x).toEqual([1, 2, 3]);
  expect(axisOf(steps, 'tokens').x).toEqual([500, 1000, 1500]);
  expect(axisOf(steps, 'time').x).toEqual([0, 1, 2]);
  const tokens = axisOf(steps, 'tokens');
  expect([tokens.at(2), tokens.at(99), tokens.at(0)]).toEqual([1000, 1500, 0]);
  expect([tokens.stepAt(1100), tokens.stepAt(0)]).toEqual([2, 1]);
});

test('the loss has its smoothed form and the evaluations; a value that is not finite is a gap', () => {
  const axis = axisOf(steps, 'step');
  const lines = linesOf(
    'loss',
    [...steps.slice(0, 2), stepMetrics(3, { loss: Number.NaN })],
    [{ step: 2, loss: 2.5, trainedTokens: 1 }],
    axis,
    3,
  );
  expect(lines.map(({ key }) => key)).toEqual(['raw', 'smooth', 'validation']);
  expect(lines[0]?.y[2]).toBeNull();
  expect(lines[2]).toMatchObject({ x: [2], y: [2.5] });
  expect(linesOf('loss', steps, [], axis, 3)).toHaveLength(2);
});

test('an auxiliary loss that was not measured is a gap, not zero', () => {
  expect(linesOf('auxLoss', steps, [], axisOf(steps, 'step'), 3)[0]?.y).toEqual([null, null, null]);
});

test('phases and checkpoints are marked, other events are not', () => {
  const event = (kind: 'phase' | 'checkpoint' | 'log') => ({
    id: 1,
    step: 2,
    wallMs: 0,
    kind,
    message: kind,
  });
  const markers = markersOf([event('phase'), event('checkpoint'), event('log')], axisOf(steps, 'step'));
  expect(markers).toEqual([
    { x: 2, label: 'phase', dashed: true },
    { x: 2, label: 'checkpoint', dashed: false },
  ]);
});

test('time left is a range, leaves pauses out, and is absent at first', () => {
  const even = Array.from({ length: 21 }, (_, i) => stepMetrics(i));
  expect(secondsLeft(even, 100)).toEqual({ low: 95, high: 105 });
  const paused = [...even, stepMetrics(21, { wallMs: 3_600_000 }), stepMetrics(22, { wallMs: 3_601_000 })];
  expect(stepSeconds(paused)).toHaveLength(21);
  expect(secondsLeft(paused, 100)).toEqual({ low: 95, high: 105 });
  expect(secondsLeft(even.slice(0, 5), 100)).toBeUndefined();
});

test('short runs are smoothed over fewer steps', () => {
  expect([10, 80, 400, 5000].map(smoothSpan)).toEqual([3, 4, 20, 20]);
});
