import { expect, test } from 'vitest';
import { selectNeurons } from './select-neurons.ts';

const scores = [
  [Float64Array.of(4, 1, 3, 2), Float64Array.of(9, 8, 7, 6)],
  [Float64Array.of(0, 0, 5, 5), Float64Array.of(5, 5, 5, 5)],
];

test('each scope drops its own share', () => {
  expect(selectNeurons(scores, 'expert', 0.5)).toEqual([
    [
      [1, 3],
      [2, 3],
    ],
    [
      [0, 1],
      [0, 1],
    ],
  ]);
  expect(selectNeurons(scores, 'layer', 0.5)).toEqual([
    [[0, 1, 2, 3], []],
    [[0, 1, 2, 3], []],
  ]);
  expect(selectNeurons(scores, 'global', 0.25)).toEqual([
    [[1, 3], []],
    [[0, 1], []],
  ]);
});

test('shares are rounded down, and nothing is dropped of nothing', () => {
  expect(selectNeurons(scores, 'expert', 0.49).flat(2)).toHaveLength(4);
  expect(selectNeurons(scores, 'global', 0)).toEqual([
    [[], []],
    [[], []],
  ]);
});

test('every expert keeps the least width, and what is asked for is dropped elsewhere', () => {
  expect(selectNeurons(scores, 'layer', 0.5, 2)[0]).toEqual([
    [1, 3],
    [2, 3],
  ]);
  expect(() => selectNeurons(scores, 'expert', 0.75, 2)).toThrow('does not leave 2 neurons');
});

test('mean magnitude and mean square of the same gradients rank two neurons in opposite order', () => {
  // Two samples: neuron a has the gradients 3 and 0, neuron b 2 and 2.
  const samples = [
    [3, 2],
    [0, 2],
  ];
  const mean = (term: (g: number) => number) =>
    Float64Array.from([0, 1], (j) => samples.reduce((sum, g) => sum + term(g[j] ?? 0) / samples.length, 0));
  expect([...mean(Math.abs)]).toEqual([1.5, 2]);
  expect([...mean((g) => g * g)]).toEqual([4.5, 4]);
  expect(selectNeurons([[mean(Math.abs)]], 'expert', 0.5)).toEqual([[[0]]]);
  expect(selectNeurons([[mean((g) => g * g)]], 'expert', 0.5)).toEqual([[[1]]]);
});
