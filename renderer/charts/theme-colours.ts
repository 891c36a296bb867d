/** The page's colour tokens as numbers, for canvases. */
import { useSyncExternalStore } from 'react';

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Colours that canvases draw with. */
export interface ThemeColours {
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly card: string;
  readonly accent: string;
  readonly font: string;
  /** Ends and middle of the diverging scale. */
  readonly diverging: readonly [Rgb, Rgb, Rgb];
  readonly cardRgb: Rgb;
}

/** Parses `rgb(1, 2, 3)` and `#0a0b0c`, the forms in which browsers give computed colours. */
function parseColour(text: string): Rgb {
  const hex = /^#([0-9a-f]{6})$/i.exec(text)?.[1];
  if (hex !== undefined) {
    const value = Number.parseInt(hex, 16);
    return [value >> 16, (value >> 8) & 255, value & 255];
  }
  const [r = 0, g = 0, b = 0] = (text.match(/[\d.]+/g) ?? []).map(Number);
  return [r, g, b];
}

/** The value of a colour token, resolved for the theme of `element`. */
export function resolveColour(element: HTMLElement, token: string): string {
  const probe = document.createElement('i');
  probe.style.color = `var(${token})`;
  element.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/** All colours for canvases inside `element`. */
export function readThemeColours(element: HTMLElement): ThemeColours {
  const read = (token: string) => resolveColour(element, token);
  return {
    ink: read('--ink'),
    muted: read('--muted'),
    line: read('--line'),
    card: read('--card'),
    accent: read('--accent'),
    font: getComputedStyle(element).fontFamily,
    diverging: [parseColour(read('--d-lo')), parseColour(read('--d-mid')), parseColour(read('--d-hi'))],
    cardRgb: parseColour(read('--card')),
  };
}

const system = () => matchMedia('(prefers-color-scheme: dark)');

function subscribe(listener: () => void): () => void {
  const observer = new MutationObserver(listener);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
  const query = system();
  query.addEventListener('change', listener);
  return () => {
    observer.disconnect();
    query.removeEventListener('change', listener);
  };
}

/** Light or dark as shown now; components that draw on canvases depend on it. */
export function useShownTheme(): 'light' | 'dark' {
  return useSyncExternalStore(subscribe, () => {
    const chosen = document.documentElement.dataset['theme'];
    if (chosen === 'light' || chosen === 'dark') return chosen;
    return system().matches ? 'dark' : 'light';
  });
}
