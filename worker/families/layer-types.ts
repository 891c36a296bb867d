/** Layers that see everything and layers that see a window, by the lists of `config.json`. */
import { invalidConfig } from './config-fields.ts';
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
