/**
 * Layers × experts as coloured cells on a diverging scale of 33 classes (`q0` … `q32`, blue – white – orange), with the
 * same numbers as a table. Cells of one class are one path: 61 × 256 cells stay a small file.
 */
import { significant } from '../format.ts';
import { html, type Markup } from './markup.ts';
import { drawing, px } from './svg-chart.ts';

/** Number of colour classes; the middle one is neutral. */
export const CLASSES = 33;

/** A map of one quantity. */
export interface HeatMap {
  /** Unique in the document. */
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** Decoder index of each row. */
  readonly layers: readonly number[];
  readonly values_LE: readonly (readonly number[])[];
  /** −1 … 1 on the colour scale; values beyond are cut. */
  readonly toScale: (value: number) => number;
  /** Experts outlined in each row. */
  readonly outlined?: readonly (readonly number[])[];
  /** Struck through where true. */
  readonly struck?: (l: number, e: number) => boolean;
  /** Numbers 0 … 1 drawn as bars at the right edge, with their name. */
  readonly bars?: { readonly name: string; readonly value_L: readonly number[] };
  /** Labels below the colour scale, from its low to its high end. */
  readonly scaleLabels: readonly string[];
}

const LEFT = 34;
const TOP = 18;
const BARS = 46;
/** Width of a cell that can have an outline of two lines. */
const ROOM_FOR_TWO = 10;

/** How many maps stand side by side for so many experts. */
export function mapsPerRow(experts: number): 1 | 2 | 3 {
  return experts <= 16 ? 3 : experts <= 96 ? 2 : 1;
}

/** The map as a figure with its table. */
export function heatMap(map: HeatMap): Markup {
  const experts = map.values_LE[0]?.length ?? 0;
  const width = { 1: 1000, 2: 490, 3: 320 }[mapsPerRow(experts)];
  // The bars' room is kept where there are none, so that columns of neighbouring maps line up.
  const cellWidth = (width - LEFT - BARS - 8) / experts;
  const cellHeight = Math.min(18, Math.max(7, cellWidth * 1.25));
  const height = TOP + cellHeight * map.layers.length + 4;
  const rowStride = Math.ceil(11 / cellHeight);
  const columnStride = [1, 2, 4, 8, 16, 32, 64].find((stride) => stride * cellWidth >= 20) ?? 64;

  const body = html`${Array.from(
      { length: Math.ceil(experts / columnStride) },
      (_, i) => i * columnStride,
    ).map(
      (e) => html`<text class="tick mid" x="${px(LEFT + (e + 0.5) * cellWidth)}" y="${TOP - 6}">${e}</text>`,
    )}${map.layers.map((layer, l) =>
      l % rowStride === 0
        ? html`<text class="tick end" x="${LEFT - 6}" y="${px(TOP + (l + 0.5) * cellHeight + 4)}"
            >${layer}</text
          >`
        : null,
    )}<g transform="translate(${LEFT} ${TOP}) scale(${cellWidth.toFixed(4)} ${cellHeight.toFixed(4)})"
      >${cells(map, cellWidth >= ROOM_FOR_TWO)}</g
    >${map.bars && bars(map.bars, width, cellHeight)}`;

  return html`<figure class="map">
    <figcaption>${map.title}</figcaption>
    <div class="plot">
      ${drawing(map.id, { width, height: Math.ceil(height) }, map.title, map.description, body)}
    </div>
    ${scale(map)} ${table(map, experts)}
  </figure>`;
}

function cells(map: HeatMap, twoLines: boolean): Markup {
  const paths = Array.from({ length: CLASSES }, () => '');
  let outlines = '';
  let strikes = '';
  map.values_LE.forEach((row, l) => {
    row.forEach((value, e) => {
      // A struck cell has no colour: on a dark one the stroke would not be seen.
      if (map.struck?.(l, e)) {
        strikes += `M${e + 0.15} ${l + 0.85}l.7-.7`;
        return;
      }
      const at = Math.max(-1, Math.min(1, map.toScale(value)));
      const colour = Math.round(((at + 1) / 2) * (CLASSES - 1));
      paths[colour] += `M${e + 0.04} ${l + 0.04}h.92v.92h-.92z`;
    });
    for (const e of map.outlined?.[l] ?? []) outlines += `M${e + 0.08} ${l + 0.08}h.84v.84h-.84z`;
  });
  return html`${paths.map((path, i) => path !== '' && html`<path class="q${i}" d="${path}" />`)}${strikes !== '' && html`<path class="strike" d="${strikes}" />`}${
    // Ink alone is too near to the ends of the scale.
    twoLines && outlines !== '' && html`<path class="outline under" d="${outlines}" />`
  }${outlines !== '' && html`<path class="outline" d="${outlines}" />`}`;
}

function bars({ name, value_L }: NonNullable<HeatMap['bars']>, width: number, cellHeight: number): Markup {
  const left = width - BARS;
  return html`<text class="tick" x="${left}" y="${TOP - 6}">${name}</text>${value_L.map(
      (value, l) =>
        html`<rect
          class="bar"
          x="${left}"
          y="${px(TOP + (l + 0.25) * cellHeight)}"
          width="${px(value * (BARS - 4))}"
          height="${px(cellHeight / 2)}"
        />`,
    )}`;
}

function scale({ scaleLabels }: HeatMap): Markup {
  const width = 200;
  const step = width / CLASSES;
  return html`<svg class="scale" viewBox="0 0 224 26" aria-hidden="true">
    ${Array.from(
      { length: CLASSES },
      (_, i) =>
        html`<rect class="q${i}" x="${px(12 + i * step)}" y="0" width="${px(step + 0.3)}" height="9" />`,
    )}${scaleLabels.map(
      (label, i) =>
        html`<text class="tick mid" x="${px(12 + (width * i) / Math.max(1, scaleLabels.length - 1))}" y="22"
          >${label}</text
        >`,
    )}
  </svg>`;
}

function table(map: HeatMap, experts: number): Markup {
  const label = `${map.title}, as a table`;
  return html`<details>
    <summary>As a table</summary>
    <div class="scroll" tabindex="0" role="region" aria-label="${label}">
      <table class="dense">
        <thead>
          <tr>
            <th scope="col">layer</th>
            ${Array.from({ length: experts }, (_, e) => html`<th scope="col">${e}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${map.values_LE.map(
            (row, l) =>
              html`<tr>
                <th scope="row">${map.layers[l] ?? l}</th>
                ${row.map(
                  (value, e) =>
                    html`<td>
                      ${significant(value, 2)}${map.outlined?.[l]?.includes(e) ? html`<abbr title="always active">▫</abbr>` : null}
                    </td>`,
                )}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}
