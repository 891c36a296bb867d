import { expect, test } from 'vitest';
import { normal } from '#worker/random/index.ts';
import { areaUnderCurve, fitLogistic, logisticScores } from './logistic-fit.ts';

test('classes of different sizes count alike, and columns may have any scale and shift', () => {
  const rows = 600;
  const noise = Float64Array.from(normal(1, 'rows', 2 * rows));
  const labels = Uint8Array.from({ length: rows }, (_, row) => Number(row % 6 === 0));
  // The second column tells nothing; the first has means ±1 around 500 at a scale of 100.
  const features = Float32Array.from({ length: 2 * rows }, (_, at) => {
    const sign = labels[at >> 1] === 1 ? 1 : -1;
    return at % 2 === 0 ? 500 + 100 * (sign + (noise[at] ?? 0)) : 7 + 0.01 * (noise[at] ?? 0);
  });
  const model = fitLogistic({ features, labels, width: 2 });
  // Two normal classes of variance 1 at ±1 have the logit 2x, shrunk by the penalty; its zero lies between them.
  const logit = (x: number) => (model.weights[0] ?? NaN) * x + (model.weights[1] ?? NaN) * 7 + model.bias;
  expect(100 * (model.weights[0] ?? NaN)).toBeGreaterThan(1.2);
  expect(100 * (model.weights[0] ?? NaN)).toBeLessThan(2.2);
  expect(Math.abs(logit(500))).toBeLessThan(0.3);
  const area = areaUnderCurve(logisticScores(model, features), labels);
  // Φ(√2) of the true classes.
  expect(area).toBeGreaterThan(0.89);
  expect(area).toBeLessThan(0.95);
});

test('the area under the curve counts pairs, and ties by half', () => {
  const area = (scores: readonly number[], labels: readonly number[]) =>
    areaUnderCurve(Float32Array.from(scores), Uint8Array.from(labels));
  expect(area([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1])).toBe(1);
  expect(area([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0])).toBe(0.25);
  expect(area([0.5, 0.5, 0.5], [0, 1, 1])).toBe(0.5);
  expect(area([0.5, 0.5], [1, 1])).toBeNaN();
});
