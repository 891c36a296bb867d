import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import { HeatMap } from './heat-map.tsx';
import { cellAt, layoutHeatMap } from './heat-map-draw.ts';
import { describeUsage, heatModel } from './heat-map-model.ts';
import { layerStats, sumRouting } from './routing-stats.ts';

afterEach(cleanup);

function shown(order: 'id' | 'load' = 'id') {
  const window = sumRouting(
    [
      {
        step: 5,
        counts_LE: Uint32Array.of(2, 6, 0, 8, 1, 1, 1, 1),
        bias_LE: Float32Array.of(0, 0.25, 0, 0, 0, 0, 0, 0),
        condensers: [[0], []],
      },
    ],
    2,
    4,
  );
  const model = window && heatModel(window, 'load', order);
  if (window === undefined || model === undefined) throw new Error('the counts do not fill the window');
  const onOpen = vi.fn<(layer: number, expert: number) => void>();
  render(
    <HeatMap
      label="Expert load"
      cells={model}
      bars={{ title: 'Gini', value_L: layerStats(window).map((layer) => layer.gini) }}
      describe={(row, expert) => describeUsage(model, row, expert)}
      layerNames={[3, 4]}
      onOpen={onOpen}
    />,
  );
  const grid = screen.getByRole('grid', { name: 'Expert load' });
  return { grid, onOpen, cell: () => screen.getByRole('gridcell').textContent };
}

test('is a grid of its true size whose active cell is read out with its numbers', () => {
  const { grid, cell } = shown();
  expect([grid.getAttribute('aria-rowcount'), grid.getAttribute('aria-colcount')]).toEqual(['2', '4']);
  expect(grid.getAttribute('aria-activedescendant')).toBe(screen.getByRole('gridcell').id);
  expect(cell()).toBe('Layer 3, expert 0: load 0.5000 × uniform (2 selections), bias 0, condenser');
  fireEvent.keyDown(grid, { key: 'ArrowRight' });
  expect(cell()).toBe('Layer 3, expert 1: load 1.500 × uniform (6 selections), bias 0.2500');
  fireEvent.keyDown(grid, { key: 'ArrowRight' });
  expect(cell()).toContain('no token');
  fireEvent.keyDown(grid, { key: 'End', ctrlKey: true });
  expect(cell()).toContain('Layer 4, expert 3');
});

test('Enter opens the expert under the cursor, whatever the order of the columns', () => {
  const { grid, onOpen, cell } = shown('load');
  expect(cell()).toContain('expert 3');
  fireEvent.keyDown(grid, { key: 'ArrowRight' });
  fireEvent.keyDown(grid, { key: 'Enter' });
  expect(onOpen).toHaveBeenCalledWith(0, 1);
});

test.each([
  [1, 4, 500, 1],
  [16, 64, 530, 1],
  [61, 256, 1000, 1.25],
  [48, 128, 300, 2],
])('%i × %i in %i px at ratio %d lies on whole device pixels', (layers, experts, width, ratio) => {
  const layout = layoutHeatMap(width, ratio, layers, experts);
  for (const length of [
    layout.width,
    layout.height,
    layout.cellWidth,
    layout.cellHeight,
    layout.left,
    layout.top,
  ]) {
    expect(Number.isInteger(length)).toBe(true);
  }
  expect(layout.cellWidth).toBeGreaterThanOrEqual(2);
  const middle = (start: number, size: number, index: number) => (start + (index + 0.5) * size) / ratio;
  const last = cellAt(
    layout,
    middle(layout.left, layout.cellWidth, experts - 1),
    middle(layout.top, layout.cellHeight, layers - 1),
  );
  expect(last).toEqual({ layer: layers - 1, column: experts - 1 });
  expect(cellAt(layout, 0, 0)).toBeUndefined();
});
