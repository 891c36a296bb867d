/** What the heat map shows, apart from how it is drawn: values, colour indices, column order, keyboard. */
import type { UsageDifference } from '#core/contract/usage-difference.ts';
import { formatCount, formatNumber, formatShare } from '../ui/format.ts';
import type { RoutingWindow } from './routing-stats.ts';

/** The quantity of a cell. */
export type HeatQuantity = 'load' | 'mass' | 'bias';
/** Order of the columns: expert number; load now, heaviest first; load in the first steps of the run. */
export type HeatOrder = 'id' | 'load' | 'base';

/** Cells prepared for drawing. Arrays are layer-major by expert number. */
export interface HeatCells {
  readonly layers: number;
  readonly experts: number;
  readonly scale: 'diverging' | 'sequential';
  /** Index into a table of 256 colours. */
  readonly colour_LE: Uint8Array;
  /** 1 where an expert got no token. */
  readonly dead_LE: Uint8Array;
  /** 1 where an expert is always active. */
  readonly condenser_LE: Uint8Array;
  /** Expert number shown in each column of each layer. */
  readonly expertAt_LE: Uint16Array;
}

/** A window of routing as cells. */
export interface HeatModel extends HeatCells {
  readonly window: RoutingWindow;
  readonly quantity: HeatQuantity;
  /** load ÷ uniform, share of the layer's gate mass, or bias. */
  readonly value_LE: Float32Array;
  /** Largest magnitude on the scale; for load the scale ends at 4 × uniform. */
  readonly limit: number;
}

/** Loads beyond 2^±`LOAD_OCTAVES` times uniform take the last colour. */
const LOAD_OCTAVES = 2;

/** Colour index of −1 … 1 on a diverging scale: 0 → 128; beyond the ends the last colour. */
function divergingColour(t: number): number {
  const inside = Math.max(-1, Math.min(1, t));
  return Math.round(inside < 0 ? 128 + 128 * inside : 128 + 127 * inside);
}

/** Colour index of load ÷ uniform on a log₂ scale centred on 1: ¼ → 0, 1 → 128, 4 → 255. */
export function loadColour(ratio: number): number {
  if (ratio <= 0) return 0;
  return divergingColour(Math.log2(ratio) / LOAD_OCTAVES);
}

/** Experts of each layer by falling load, by number where no load is given. */
function columnOrder(counts_LE: ArrayLike<number> | undefined, layers: number, experts: number): Uint16Array {
  if (counts_LE === undefined) return Uint16Array.from({ length: layers * experts }, (_, i) => i % experts);
  const order = new Uint16Array(layers * experts);
  for (let layer = 0; layer < layers; layer++) {
    const ids = Array.from({ length: experts }, (_, expert) => expert);
    const load = (id: number) => counts_LE[layer * experts + id] ?? 0;
    ids.sort((a, b) => load(b) - load(a) || a - b);
    order.set(ids, layer * experts);
  }
  return order;
}

/**
 * Prepares `window` for drawing; undefined when `quantity` was not measured.
 * @param start first window of the run, for the order `base`; without it columns are in order of number.
 */
export function heatModel(
  window: RoutingWindow,
  quantity: HeatQuantity,
  order: HeatOrder,
  start?: RoutingWindow,
): HeatModel | undefined {
  const { layers, experts, counts_LE } = window;
  const size = layers * experts;
  const source = { load: counts_LE, mass: window.mass_LE, bias: window.bias_LE }[quantity];
  if (source === undefined) return undefined;
  const value_LE = new Float32Array(size);
  const colour_LE = new Uint8Array(size);
  const dead_LE = new Uint8Array(size);
  const condenser_LE = new Uint8Array(size);
  for (let layer = 0; layer < layers; layer++) {
    const at = layer * experts;
    let total = 0;
    let tokens = 0;
    for (let i = at; i < at + experts; i++) {
      total += source[i] ?? 0;
      tokens += counts_LE[i] ?? 0;
    }
    const unit = quantity === 'bias' ? 1 : quantity === 'load' ? total / experts : total;
    for (let i = at; i < at + experts; i++) {
      value_LE[i] = unit === 0 ? 0 : (source[i] ?? 0) / unit;
      dead_LE[i] = tokens > 0 && counts_LE[i] === 0 ? 1 : 0;
    }
    for (const id of window.condensers?.[layer] ?? []) {
      condenser_LE[at + id] = 1;
      dead_LE[at + id] = 0;
    }
  }
  const largest = value_LE.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const limit = quantity === 'load' ? 2 ** LOAD_OCTAVES : largest;
  for (let i = 0; i < size; i++) {
    const value = value_LE[i] ?? 0;
    if (quantity === 'load') colour_LE[i] = loadColour(value);
    else if (limit === 0) colour_LE[i] = quantity === 'bias' ? 128 : 0;
    else if (quantity === 'bias') colour_LE[i] = divergingColour(value / limit);
    else colour_LE[i] = Math.round((255 * value) / limit);
  }
  const byLoad = order === 'load' ? window : order === 'base' ? start : undefined;
  return {
    layers,
    experts,
    window,
    quantity,
    scale: quantity === 'mass' ? 'sequential' : 'diverging',
    value_LE,
    colour_LE,
    dead_LE,
    condenser_LE,
    expertAt_LE: columnOrder(byLoad?.counts_LE, layers, experts),
    limit,
  };
}

/** A cell's numbers in words: "load 2.600 × uniform (1,204 selections), gate mass 6.10 %, bias 0.2100, condenser". */
export function describeUsage(model: HeatModel, row: number, expert: number): string {
  const { window, experts } = model;
  const i = row * experts + expert;
  const total = (array: Float64Array) =>
    array.subarray(row * experts, (row + 1) * experts).reduce((sum, value) => sum + value, 0);
  const layerTokens = total(window.counts_LE);
  const count = window.counts_LE[i] ?? 0;
  const parts = [
    layerTokens === 0
      ? 'no token reached this layer'
      : `load ${formatNumber((count * experts) / layerTokens)} × uniform (${formatCount(count)} selections)`,
  ];
  if (window.mass_LE !== undefined) {
    const mass = total(window.mass_LE);
    if (mass > 0) parts.push(`gate mass ${formatShare((window.mass_LE[i] ?? 0) / mass)}`);
  }
  if (window.bias_LE !== undefined) parts.push(`bias ${formatNumber(window.bias_LE[i])}`);
  if (model.condenser_LE[i] === 1) parts.push('condenser');
  if (model.dead_LE[i] === 1) parts.push('no token');
  return parts.join(', ');
}

/** What the ends and the middle of the model's colour scale stand for. */
export function scaleWords({ quantity, limit }: HeatModel): ScaleWords {
  switch (quantity) {
    case 'load':
      return ['≤ ¼', 'uniform', '≥ 4 ×'];
    case 'bias':
      return [`−${formatNumber(limit, 2)}`, '0', `+${formatNumber(limit, 2)}`];
    case 'mass':
      return ['0', '', `${formatShare(limit)} of the layer`];
  }
}

/** Numbers 0 … 1 drawn at the right edge of each row. */
export interface HeatBars {
  readonly title: string;
  readonly value_L: readonly number[];
}

/** Names of the low end, the middle and the high end of a colour scale. */
export type ScaleWords = readonly [low: string, middle: string, high: string];

/** The difference of two runs as cells; `order` load: heaviest in the base first. */
export function differenceCells(usage: UsageDifference, order: Extract<HeatOrder, 'id' | 'load'>): HeatCells {
  const { layers, experts, difference_LE, limit, other, base } = usage;
  const size = layers.length * experts;
  const condenser_LE = new Uint8Array(size);
  for (const [row, ids] of other.condensers_L.entries()) {
    for (const id of ids) condenser_LE[row * experts + id] = 1;
  }
  return {
    layers: layers.length,
    experts,
    scale: 'diverging',
    colour_LE: Uint8Array.from(difference_LE.flat(), (value) => divergingColour(value / limit)),
    dead_LE: new Uint8Array(size),
    condenser_LE,
    expertAt_LE: columnOrder(order === 'load' ? base.load_LE.flat() : undefined, layers.length, experts),
  };
}

/** A place in the grid. */
export interface Cell {
  readonly layer: number;
  readonly column: number;
}

/** Where `key` leads from `cell` in a grid of `layers × experts`, as the ARIA grid pattern has it; undefined for other keys. */
export function moveCell(
  cell: Cell,
  key: string,
  withControl: boolean,
  layers: number,
  experts: number,
): Cell | undefined {
  const { layer, column } = cell;
  const row = (next: number) => ({ layer: Math.max(0, Math.min(layers - 1, next)), column });
  const along = (next: number) => ({ layer, column: Math.max(0, Math.min(experts - 1, next)) });
  switch (key) {
    case 'ArrowUp':
      return row(layer - 1);
    case 'ArrowDown':
      return row(layer + 1);
    case 'ArrowLeft':
      return along(column - 1);
    case 'ArrowRight':
      return along(column + 1);
    case 'PageUp':
      return row(layer - 8);
    case 'PageDown':
      return row(layer + 8);
    case 'Home':
      return withControl ? { layer: 0, column: 0 } : along(0);
    case 'End':
      return withControl ? { layer: layers - 1, column: experts - 1 } : along(experts - 1);
    default:
      return undefined;
  }
}
