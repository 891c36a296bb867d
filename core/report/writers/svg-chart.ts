/** What all drawings of the report share. */
import { html, type Markup } from './markup.ts';

/** A drawing with a spoken name and description; `id` is unique in the document. */
export function drawing(
  id: string,
  size: { readonly width: number; readonly height: number },
  title: string,
  description: string,
  body: Markup | readonly Markup[],
): Markup {
  return html`<svg
    viewBox="0 0 ${size.width} ${size.height}"
    role="img"
    aria-labelledby="${id}-title ${id}-desc"
  >
    <title id="${id}-title">${title}</title>
    <desc id="${id}-desc">${description}</desc>
    ${body}
  </svg>`;
}

/** A coordinate with one decimal. */
export function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** Round values from at most `low` to at least `high`, about `count` of them: multiples of 1, 2, 2.5 or 5 · 10ⁿ. */
export function ticks(low: number, high: number, count: number): number[] {
  const span = high > low ? high - low : Math.max(Math.abs(high), 1);
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5].find((factor) => factor * power >= rough) ?? 10);
  const [from, to] = [Math.floor(low / step), Math.ceil((low + span) / step)];
  return Array.from({ length: to - from + 1 }, (_, i) => Number(((from + i) * step).toPrecision(12)));
}
