/** Tables of 256 colours for the heat map. */
import type { Rgb } from './theme-colours.ts';

/** Colours of cividis (Nuñez, Anderton & Renslow 2018) at ten even stops: safe for every common colour vision. */
const cividis: readonly Rgb[] = [
  [0, 34, 78],
  [18, 53, 112],
  [59, 73, 108],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 156, 116],
  [195, 179, 105],
  [225, 204, 85],
  [254, 232, 56],
];

const mix = (a: Rgb, b: Rgb, t: number): Rgb => [
  Math.round(a[0] + (b[0] - a[0]) * t),
  Math.round(a[1] + (b[1] - a[1]) * t),
  Math.round(a[2] + (b[2] - a[2]) * t),
];

/** 256 colours from `[low, middle, high]`, index 128 being the middle; a power of 0.85 keeps small departures visible. */
export function divergingScale([low, middle, high]: readonly [Rgb, Rgb, Rgb]): readonly Rgb[] {
  return Array.from({ length: 256 }, (_, index) => {
    const t = index < 128 ? (index - 128) / 128 : (index - 128) / 127;
    return mix(middle, t < 0 ? low : high, Math.abs(t) ** 0.85);
  });
}

/** 256 colours of cividis. */
export function sequentialScale(): readonly Rgb[] {
  return Array.from({ length: 256 }, (_, index) => {
    const at = (index / 255) * (cividis.length - 1);
    const below = Math.min(cividis.length - 2, Math.floor(at));
    return mix(cividis[below] ?? [0, 0, 0], cividis[below + 1] ?? [0, 0, 0], at - below);
  });
}

/** Colours as the 32-bit pixels of an `ImageData` buffer (little-endian RGBA). */
export function toPixels(colours: readonly Rgb[]): Uint32Array {
  return Uint32Array.from(colours, ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
}
