import { expect, test } from 'vitest';
import {
  formatAgo,
  formatBytes,
  formatCount,
  formatDuration,
  formatLarge,
  formatNumber,
  formatRange,
  formatShare,
  NOT_MEASURED,
  plural,
} from './format.ts';

test('four significant digits, trailing zeros kept, so that like numbers align', () => {
  const inputs = [
    1.312345, 1.31, 0.84, 212, 17.8, 0.0012345, 6.1e-6, 1e-5, 3.57e-6, 12345.6, 3777, 0, -2.5, 1e10,
  ];
  expect(inputs.map((value) => formatNumber(value))).toEqual([
    '1.312',
    '1.310',
    '0.8400',
    '212.0',
    '17.80',
    '0.001234',
    '6.1e-6',
    '1e-5',
    '3.570e-6',
    '12,346',
    '3,777',
    '0',
    '−2.500',
    '1.000e+10',
  ]);
});

test('what was not measured says so and is never zero', () => {
  expect([
    formatNumber(undefined),
    formatCount(null),
    formatBytes(undefined),
    formatShare(undefined),
  ]).toEqual(Array.from({ length: 4 }, () => NOT_MEASURED));
  expect(formatNumber(Number.NaN)).toBe('not a number');
  expect(formatNumber(Number.NEGATIVE_INFINITY)).toBe('−∞');
});

test('large counts, bytes and durations use the unit that fits', () => {
  expect([formatLarge(1_420_000), formatLarge(6_919_161_856), formatLarge(980)]).toEqual([
    '1.42 M',
    '6.92 B',
    '980',
  ]);
  expect([formatBytes(512), formatBytes(13_838_000_000)]).toEqual(['512 B', '13.8 GB']);
  expect([0.2, 48, 95, 2880, 6720, 7200, 180_000].map(formatDuration)).toEqual([
    'under 1 s',
    '48 s',
    '1 min 35 s',
    '48 min',
    '1 h 52 min',
    '2 h',
    '2 d 2 h',
  ]);
});

test('a range names a shared unit once', () => {
  expect(formatRange(2880, 3360, formatDuration)).toBe('48–56 min');
  expect(formatRange(3000, 6720, formatDuration)).toBe('50 min – 1 h 52 min');
  expect(formatRange(60, 60, formatDuration)).toBe('1 min');
});

test('ages and plurals', () => {
  expect(formatAgo(0, 30_000)).toBe('just now');
  expect(formatAgo(0, 3 * 60_000)).toBe('3 min ago');
  expect(plural(1, 'row')).toBe('1 row');
  expect(plural(1284, 'row')).toBe('1,284 rows');
});
