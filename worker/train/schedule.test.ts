import { expect, test } from 'vitest';
import { learningRate, warmupSteps, type Schedule } from './schedule.ts';

const schedule = (shape: Schedule['shape']): Schedule => ({
  shape,
  peak: 0.003,
  totalSteps: 8,
  warmupSteps: 2,
  minRatio: 0.1,
});
const rates = (shape: Schedule['shape']) =>
  Array.from({ length: 8 }, (_, step) => learningRate(schedule(shape), step));

test('cosine with a minimum gives the rates of the reference schedule', () => {
  // cosine_with_min_lr of Hugging Face transformers with 2 warm-up steps of 8, as golden cases list it.
  const expected = [0, 0.0015, 0.003, 0.0028191343, 0.002325, 0.00165, 0.000975, 0.000480865705];
  rates('cosine').forEach((rate, step) => expect(rate).toBeCloseTo(expected[step] ?? NaN, 9));
});

test('linear falls evenly, constant stays', () => {
  expect(rates('linear')[5]).toBeCloseTo(0.003 * (1 - 0.9 * 0.5), 12);
  expect(rates('constant').slice(2)).toEqual(Array(6).fill(0.003));
});

test('warm-up rounds up; without one the first step has the full rate', () => {
  expect(warmupSteps(0.1, 15)).toBe(2);
  expect(learningRate({ ...schedule('cosine'), warmupSteps: 0 }, 0)).toBe(0.003);
});
