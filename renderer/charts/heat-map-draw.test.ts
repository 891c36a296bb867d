import { expect, test } from 'vitest';
import { drawHeatMap, layoutHeatMap } from './heat-map-draw.ts';
import { heatModel } from './heat-map-model.ts';
import { sumRouting } from './routing-stats.ts';
import type { ThemeColours } from './theme-colours.ts';

const theme: ThemeColours = {
  ink: 'ink',
  muted: 'muted',
  line: 'line',
  card: 'card',
  accent: 'accent',
  font: 'sans-serif',
  diverging: [
    [31, 95, 168],
    [240, 240, 240],
    [200, 80, 10],
  ],
  cardRgb: [255, 255, 255],
};

/** The outlines drawn into a map of one layer and four experts, the first a condenser: colour, then x, y, width and height. */
function outlines(widthCss: number): readonly (readonly [string, ...number[]])[] {
  const counts_LE = Uint32Array.of(1, 2, 3, 4);
  const window = sumRouting([{ step: 1, counts_LE, condensers: [[0]] }], 1, 4);
  const cells = window && heatModel(window, 'load', 'id');
  if (cells === undefined) throw new Error('the counts do not fill the window');
  const drawn: [string, ...number[]][] = [];
  // The part of a canvas that is drawn with, which only notes outlines.
  const context = {
    strokeStyle: '',
    clearRect: () => undefined,
    createImageData: (width: number, height: number) => ({ data: new Uint8ClampedArray(4 * width * height) }),
    putImageData: () => undefined,
    fillText: () => undefined,
    fillRect: () => undefined,
    strokeRect(...place: number[]) {
      drawn.push([this.strokeStyle, ...place]);
    },
  };
  const layout = layoutHeatMap(widthCss, 1, 1, 4);
  const bars = { title: 'Gini', value_L: [0.5] };
  drawHeatMap(context as unknown as CanvasRenderingContext2D, layout, cells, theme, [0], bars);
  return drawn;
}

test('a condenser has an outline of two colours, one of which any cell is unlike', () => {
  expect(outlines(400)).toEqual([
    ['ink', 30.5, 20.5, 76, 38],
    ['card', 31.5, 21.5, 74, 36],
  ]);
});

test('a narrow cell has room for one', () => {
  expect(outlines(110).map(([colour]) => colour)).toEqual(['ink']);
});
