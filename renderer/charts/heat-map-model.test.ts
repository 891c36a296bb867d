import { expect, test } from 'vitest';
import { divergingScale, sequentialScale, toPixels } from './colour-scales.ts';
import { differenceCells, heatModel, loadColour, moveCell } from './heat-map-model.ts';
import { sumRouting } from './routing-stats.ts';

const window = (counts: number[], layers: number, experts: number, more = {}) => {
  const summed = sumRouting([{ step: 3, counts_LE: Uint32Array.from(counts), ...more }], layers, experts);
  if (summed === undefined) throw new Error('the counts do not fill the window');
  return summed;
};

test('the load scale is log₂ and centred on uniform', () => {
  expect([0.25, 0.5, 1, 2, 4].map(loadColour)).toEqual([0, 64, 128, 192, 255]);
  expect([0, 1 / 64, 64].map(loadColour)).toEqual([0, 0, 255]);
});

test('each layer is measured against its own uniform load', () => {
  const model = heatModel(window([1, 3, 20, 20], 2, 2), 'load', 'id');
  expect([...(model?.value_LE ?? [])]).toEqual([0.5, 1.5, 1, 1]);
  expect([...(model?.colour_LE ?? [])].slice(2)).toEqual([128, 128]);
});

test('experts without a token are dead, always-active ones are not, and a layer without tokens has none', () => {
  const model = heatModel(window([0, 0, 4, 0, 0, 0], 2, 3, { condensers: [[1], []] }), 'load', 'id');
  expect([...(model?.dead_LE ?? [])]).toEqual([1, 0, 0, 0, 0, 0]);
  expect([...(model?.condenser_LE ?? [])]).toEqual([0, 1, 0, 0, 0, 0]);
});

test('bias is centred on zero with a symmetric limit; what was not measured has no model', () => {
  const biased = window([1, 1, 1], 1, 3, { bias_LE: Float32Array.of(-0.5, 0, 0.25) });
  const model = heatModel(biased, 'bias', 'id');
  expect(model?.limit).toBe(0.5);
  expect([...(model?.colour_LE ?? [])]).toEqual([0, 128, 192]);
  expect(heatModel(biased, 'mass', 'id')).toBeUndefined();
});

test('gate mass is a share of the layer on a sequential scale', () => {
  const model = heatModel(window([1, 1], 1, 2, { mass_LE: Float32Array.of(1, 3) }), 'mass', 'id');
  expect(model?.scale).toBe('sequential');
  expect([...(model?.value_LE ?? [])]).toEqual([0.25, 0.75]);
  expect([...(model?.colour_LE ?? [])]).toEqual([85, 255]);
});

test('columns by load and by the load at the start', () => {
  const now = window([1, 5, 3], 1, 3);
  const start = window([9, 1, 2], 1, 3);
  expect([...(heatModel(now, 'load', 'load', start)?.expertAt_LE ?? [])]).toEqual([1, 2, 0]);
  expect([...(heatModel(now, 'load', 'base', start)?.expertAt_LE ?? [])]).toEqual([0, 2, 1]);
  expect([...(heatModel(now, 'load', 'base')?.expertAt_LE ?? [])]).toEqual([0, 1, 2]);
});

test('colour tables: the middle is neutral, the ends are the ends', () => {
  const scale = divergingScale([
    [0, 0, 255],
    [255, 255, 255],
    [255, 100, 0],
  ]);
  expect([scale[0], scale[128], scale[255]]).toEqual([
    [0, 0, 255],
    [255, 255, 255],
    [255, 100, 0],
  ]);
  const cividis = sequentialScale();
  expect([cividis[0], cividis[255]]).toEqual([
    [0, 34, 78],
    [254, 232, 56],
  ]);
  expect(toPixels([[1, 2, 3]])[0]).toBe(0xff030201);
});

test('arrow keys stay inside the grid; Home and End go to the edges', () => {
  const from = { layer: 0, column: 2 };
  const go = (key: string, control = false) => moveCell(from, key, control, 4, 8);
  expect(go('ArrowUp')).toEqual(from);
  expect(go('ArrowDown')).toEqual({ layer: 1, column: 2 });
  expect(go('ArrowLeft')).toEqual({ layer: 0, column: 1 });
  expect(go('End')).toEqual({ layer: 0, column: 7 });
  expect(go('End', true)).toEqual({ layer: 3, column: 7 });
  expect(go('PageDown')).toEqual({ layer: 3, column: 2 });
  expect(go('Enter')).toBeUndefined();
});

test('a difference is centred on no change, and its columns can follow the load subtracted', () => {
  const end = { id: 'run_a', name: 'a', fromStep: 9, toStep: 10 };
  const usage = {
    layers: [1],
    experts: 3,
    base: { ...end, load_LE: [[0.5, 2, 0.5]], condensers_L: [[]] },
    other: { ...end, id: 'run_b', load_LE: [[1, 1, 1]], condensers_L: [[2]] },
    difference_LE: [[0.5, -1, 0]],
    moved_L: [1 / 3],
    limit: 1,
    words: [],
  };
  const cells = differenceCells(usage, 'id');
  expect([...cells.colour_LE]).toEqual([192, 0, 128]);
  expect([...cells.condenser_LE]).toEqual([0, 0, 1]);
  expect([...cells.expertAt_LE]).toEqual([0, 1, 2]);
  expect([...differenceCells(usage, 'load').expertAt_LE]).toEqual([1, 0, 2]);
});
