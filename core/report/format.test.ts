import { expect, test } from 'vitest';
import { duration, listed, percent, plural, short, significant } from './format.ts';
import { ticks } from './writers/svg-chart.ts';

test('four significant digits, thousands separated, extremes as powers of ten', () => {
  expect(
    [1.23456, 1234.56, 0.00123456, 0, -2.5, 1e-5, 1.23456e-7].map((value) => significant(value)),
  ).toEqual(['1.235', '1,235', '0.001235', '0', '−2.5', '1e−5', '1.235e−7']);
  expect([Infinity, -Infinity, Number.NaN].map((value) => significant(value))).toEqual([
    '∞',
    '−∞',
    'not a number',
  ]);
});

test('what was rounded keeps its zeros, a round number has none', () => {
  expect([0.2998, 0.3, 0.07 * 100, 1999.96].map((value) => significant(value, 2))).toEqual([
    '0.30',
    '0.3',
    '7',
    '2,000',
  ]);
  expect([0.21799, 3.00001, 1.0000004e-5].map((value) => significant(value))).toEqual([
    '0.2180',
    '3.000',
    '1.000e−5',
  ]);
});

test('shares, counts and times as a person says them', () => {
  expect([0.41, 0.0625, 0.8333, 1, 0.005].map(percent)).toEqual(['41 %', '6.3 %', '83 %', '100 %', '0.5 %']);
  expect([999, 1_420_000, 6_900_000_000].map(short)).toEqual(['999', '1.42 M', '6.9 B']);
  expect([0.25, 59.6, 75, 6720].map(duration)).toEqual(['0.25 s', '1 min', '1 min 15 s', '1 h 52 min']);
  expect([listed([]), listed([1]), listed(['a', 'b', 'c'])]).toEqual(['', '1', 'a, b and c']);
  expect([plural(1, 'step'), plural(1200, 'step')]).toEqual(['1 step', '1,200 steps']);
});

test('axis values are round and cover the data, whatever they are', () => {
  expect(ticks(1.03, 2.48, 6)).toEqual([1, 1.25, 1.5, 1.75, 2, 2.25, 2.5]);
  expect(ticks(0, 100, 8)).toEqual([0, 20, 40, 60, 80, 100]);
  for (const [low, high] of [
    [2, 2],
    [0, 0],
    [-1, 3e-7],
    [1e6, 1.1e6],
  ] as const) {
    const values = ticks(low, high, 6);
    expect(values.length).toBeGreaterThan(1);
    expect(values[0]).toBeLessThanOrEqual(low);
    expect(values.at(-1)).toBeGreaterThanOrEqual(high);
  }
});
