/** Draws a heat map on whole device pixels, so that hundreds of narrow cells have sharp and equal edges. */
import { divergingScale, sequentialScale, toPixels } from './colour-scales.ts';
import type { Cell, HeatBars, HeatCells } from './heat-map-model.ts';
import type { ThemeColours } from './theme-colours.ts';

/** Places on the canvas, in device pixels unless said otherwise. */
export interface HeatLayout {
  readonly ratio: number;
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly top: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly gap: number;
  readonly layers: number;
  readonly experts: number;
  /** Left end of the bars at the right. */
  readonly barsLeft: number;
}

const LEFT_CSS = 30;
const TOP_CSS = 20;
const BARS_CSS = 58;
/** What the cells leave over goes to the bars, up to this. */
const BARS_MOST_CSS = 130;
const BODY_CSS = 280;

/** Fits `layers × experts` cells into `widthCss` CSS pixels; grows beyond it when a cell would be under 2 pixels. */
export function layoutHeatMap(widthCss: number, ratio: number, layers: number, experts: number): HeatLayout {
  const px = (css: number) => Math.round(css * ratio);
  const room = Math.max(0, px(widthCss - LEFT_CSS - BARS_CSS));
  const cellWidth = Math.max(px(2), Math.min(px(96), Math.floor(room / experts)));
  const cellHeight = px(Math.max(5, Math.min(40, Math.floor(BODY_CSS / layers))));
  const barsLeft = px(LEFT_CSS) + cellWidth * experts + px(8);
  return {
    ratio,
    width: Math.max(barsLeft + px(BARS_CSS - 8), Math.min(px(widthCss), barsLeft + px(BARS_MOST_CSS))),
    height: px(TOP_CSS) + cellHeight * layers,
    left: px(LEFT_CSS),
    top: px(TOP_CSS),
    cellWidth,
    cellHeight,
    gap: cellWidth >= px(5) ? Math.max(1, Math.round(ratio)) : 0,
    layers,
    experts,
    barsLeft,
  };
}

/** The cell at a place given in CSS pixels from the canvas's corner. */
export function cellAt(layout: HeatLayout, xCss: number, yCss: number): Cell | undefined {
  const column = Math.floor((xCss * layout.ratio - layout.left) / layout.cellWidth);
  const layer = Math.floor((yCss * layout.ratio - layout.top) / layout.cellHeight);
  const inside = column >= 0 && column < layout.experts && layer >= 0 && layer < layout.layers;
  return inside ? { layer, column } : undefined;
}

/** Every n-th of a row of labels, n from the steps people count in, so that labels keep `room` pixels. */
function labelStep(cell: number, room: number): number {
  return [1, 2, 4, 8, 16, 32, 64].find((step) => step * cell >= room) ?? 128;
}

/** Colour table of the cells' scale as pixels. */
function heatPixels(cells: HeatCells, theme: ThemeColours): Uint32Array {
  return toPixels(cells.scale === 'diverging' ? divergingScale(theme.diverging) : sequentialScale());
}

function drawCells(
  context: CanvasRenderingContext2D,
  layout: HeatLayout,
  cells: HeatCells,
  theme: ThemeColours,
): void {
  const { cellWidth, cellHeight, gap, layers, experts } = layout;
  const table = heatPixels(cells, theme);
  const empty = toPixels([theme.cardRgb])[0] ?? 0;
  const width = cellWidth * experts;
  const image = context.createImageData(width, cellHeight * layers);
  const pixels = new Uint32Array(image.data.buffer).fill(empty);
  const rowGap = Math.max(gap, cellHeight >= 5 ? 1 : 0);
  for (let layer = 0; layer < layers; layer++) {
    const start = layer * cellHeight * width;
    for (let column = 0; column < experts; column++) {
      const i = layer * experts + (cells.expertAt_LE[layer * experts + column] ?? 0);
      const colour = cells.dead_LE[i] === 1 ? empty : (table[cells.colour_LE[i] ?? 0] ?? empty);
      const x = start + column * cellWidth;
      pixels.fill(colour, x, x + cellWidth - gap);
    }
    for (let y = 1; y < cellHeight - rowGap; y++) pixels.copyWithin(start + y * width, start, start + width);
  }
  context.putImageData(image, layout.left, layout.top);
}

function drawMarks(
  context: CanvasRenderingContext2D,
  layout: HeatLayout,
  cells: HeatCells,
  theme: ThemeColours,
): void {
  const { cellWidth, cellHeight, gap, layers, experts, ratio } = layout;
  const line = Math.max(1, Math.round(ratio * (cellWidth >= 6 * ratio ? 1.25 : 1)));
  context.lineWidth = line;
  for (let layer = 0; layer < layers; layer++) {
    for (let column = 0; column < experts; column++) {
      const i = layer * experts + (cells.expertAt_LE[layer * experts + column] ?? 0);
      const dead = cells.dead_LE[i] === 1;
      if (!dead && cells.condenser_LE[i] !== 1) continue;
      const x = layout.left + column * cellWidth;
      const y = layout.top + layer * cellHeight;
      const [w, h] = [cellWidth - gap, cellHeight - Math.max(gap, 1)];
      if (dead) {
        context.strokeStyle = theme.muted;
        context.beginPath();
        context.moveTo(x + 0.5, y + h - 0.5);
        context.lineTo(x + w - 0.5, y + 0.5);
        context.stroke();
      } else {
        // Ink alone is too near to the ends of the scale: a second line inside it, where there is room for both.
        const lines = w > 6 * line ? [theme.ink, theme.card] : [theme.ink];
        for (const [inset, colour] of lines.entries()) {
          const edge = (inset + 0.5) * line;
          context.strokeStyle = colour;
          context.strokeRect(x + edge, y + edge, w - 2 * edge, h - 2 * edge);
        }
      }
    }
  }
}

function drawLabels(
  context: CanvasRenderingContext2D,
  layout: HeatLayout,
  cells: HeatCells,
  theme: ThemeColours,
  layerNames: readonly number[],
  bars: HeatBars,
): void {
  const { ratio, cellWidth, cellHeight, layers, experts } = layout;
  const byId = cells.expertAt_LE.every((expert, i) => expert === i % experts);
  context.font = `${10.5 * ratio}px ${theme.font}`;
  context.fillStyle = theme.muted;
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  const everyRow = labelStep(cellHeight, 12 * ratio);
  for (let layer = 0; layer < layers; layer += everyRow) {
    context.fillText(
      String(layerNames[layer] ?? layer),
      layout.left - 6 * ratio,
      layout.top + (layer + 0.5) * cellHeight,
    );
  }
  context.textAlign = 'left';
  if (byId) {
    const everyColumn = labelStep(cellWidth, 26 * ratio);
    for (let column = 0; column < experts; column += everyColumn) {
      context.fillText(String(column), layout.left + column * cellWidth, 9 * ratio);
    }
  } else {
    context.fillText('most used →', layout.left, 9 * ratio);
  }
  context.fillText(bars.title, layout.barsLeft, 9 * ratio);
  context.fillStyle = theme.accent;
  const full = layout.width - layout.barsLeft;
  const thick = Math.max(1, Math.round(cellHeight * 0.45));
  for (const [row, value] of bars.value_L.entries()) {
    const y = layout.top + row * cellHeight + Math.round((cellHeight - thick) / 2);
    context.fillRect(layout.barsLeft, y, Math.max(1, Math.round(full * value)), thick);
  }
}

/** Draws everything; the canvas must have the layout's size in device pixels. */
export function drawHeatMap(
  context: CanvasRenderingContext2D,
  layout: HeatLayout,
  cells: HeatCells,
  theme: ThemeColours,
  layerNames: readonly number[],
  bars: HeatBars,
): void {
  context.clearRect(0, 0, layout.width, layout.height);
  drawCells(context, layout, cells, theme);
  drawMarks(context, layout, cells, theme);
  drawLabels(context, layout, cells, theme, layerNames, bars);
}
