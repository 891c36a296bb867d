/** What the heat map shows, apart from how it is drawn: values, colour indices, column order, keyboard. */
import type { RoutingWindow } from './routing-stats.ts';

/** The quantity of a cell. */
export type HeatQuantity = 'load' | 'mass' | 'bias';
/** Order of the columns: expert number; load now, heaviest first; load in the first steps of the run. */
export type HeatOrder = 'id' | 'load' | 'base';

/** A window prepared for drawing. Arrays are layer-major by expert number. */
export interface HeatModel {
  readonly window: RoutingWindow;
  readonly quantity: HeatQuantity;
  readonly scale: 'diverging' | 'sequential';
  /** load ÷ uniform, share of the layer's gate mass, or bias. */
  readonly value_LE: Float32Array;
  /** Index into a table of 256 colours. */
  readonly colour_LE: Uint8Array;
  /** 1 where an expert got no token. */
  readonly dead_LE: Uint8Array;
  /** 1 where an expert is always active. */
  readonly condenser_LE: Uint8Array;
  /** Expert number shown in each column of each layer. */
  readonly expertAt_LE: Uint16Array;
  /** Largest magnitude on the scale; for load the scale ends at 4 × uniform. */
  readonly limit: number;
}

/** Loads beyond 2^±`LOAD_OCTAVES` times uniform take the last colour. */
const LOAD_OCTAVES = 2;

/** Colour index of load ÷ uniform on a log₂ scale centred on 1: ¼ → 0, 1 → 128, 4 → 255. */
export function loadColour(ratio: number): number {
  if (ratio <= 0) return 0;
  const t = Math.max(-1, Math.min(1, Math.log2(ratio) / LOAD_OCTAVES));
  return Math.round(t < 0 ? 128 + 128 * t : 128 + 127 * t);
}

function columnOrder(counts_LE: ArrayLike<number>, layers: number, experts: number): Uint16Array {
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
    else if (quantity === 'bias')
      colour_LE[i] = Math.round(value < 0 ? 128 + (128 * value) / limit : 128 + (127 * value) / limit);
    else colour_LE[i] = Math.round((255 * value) / limit);
  }
  const byLoad = order === 'load' ? window : order === 'base' ? start : undefined;
  const expertAt_LE =
    byLoad === undefined
      ? Uint16Array.from({ length: size }, (_, i) => i % experts)
      : columnOrder(byLoad.counts_LE, layers, experts);
  return {
    window,
    quantity,
    scale: quantity === 'mass' ? 'sequential' : 'diverging',
    value_LE,
    colour_LE,
    dead_LE,
    condenser_LE,
    expertAt_LE,
    limit,
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
