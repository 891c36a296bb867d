/** Layers that see everything and layers that see a window, by the lists of `config.json`. */
import { z } from 'zod';
import { invalidConfig, layerListFields } from './config-fields.ts';
import { ofLayer } from './decoder-parts.ts';
import type { LayerType } from './rope-config.ts';

interface LayerTypes {
  readonly layer_types?: readonly LayerType[] | null | undefined;
  readonly sliding_window?: number | null | undefined;
}

/** The type of layer `index`. @throws UserError `config/invalid` when there is a window and no list of layers. */
export function layerTypeOf(family: string, c: LayerTypes, index: number): LayerType {
  if (c.layer_types) return ofLayer(family, 'layer_types', c.layer_types, index);
  if (c.sliding_window) throw invalidConfig(family, 'sliding_window is set, but layer_types is missing');
  return 'full_attention';
}

/** The window of a layer that has one. */
export function windowOf(c: LayerTypes): { readonly window?: number } {
  return c.sliding_window ? { window: c.sliding_window } : {};
}

/** Fields of the windows of Qwen's families, with the values that its configs leave out. */
export const qwenWindowFields = {
  use_sliding_window: z.boolean().default(false),
  sliding_window: z.int().min(0).nullable().default(4096),
  max_window_layers: z.int().min(0).default(28),
  layer_types: layerListFields.layer_types,
};
const QwenWindow = z.object(qwenWindowFields);
type QwenWindow = z.output<typeof QwenWindow>;

/** The window of a layer: by the list, or where `rule` says so. @throws UserError `config/invalid` when a listed one has no size. */
export function qwenWindowOf(
  family: string,
  c: QwenWindow,
  index: number,
  rule: (index: number, maxWindowLayers: number) => boolean,
): { readonly window?: number } {
  const window = c.use_sliding_window ? (c.sliding_window ?? 0) : 0;
  if (!c.layer_types) return window > 0 && rule(index, c.max_window_layers) ? { window } : {};
  if (ofLayer(family, 'layer_types', c.layer_types, index) === 'full_attention') return {};
  if (window === 0) {
    throw invalidConfig(
      family,
      `layer_types gives layer ${index} a window, which needs use_sliding_window and sliding_window`,
    );
  }
  return { window };
}
