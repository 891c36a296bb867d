/** Loss over steps of all runs of a report in one drawing, with the same numbers as a table. */
import type { CurvePoint, RunReport } from '../report-data.ts';
import { count, significant } from '../format.ts';
import { html, type Markup } from './markup.ts';
import { drawing, px, ticks } from './svg-chart.ts';

const WIDTH = 1000;
const HEIGHT = 330;
const LEFT = 58;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 42;
/** Rows of the table twin. */
const TABLE_ROWS = 20;
/** Measured losses are drawn behind the smoothed ones for so few runs only: more hide each other. */
const RUNS_WITH_RAW = 3;

/** Class of the colour of run number `i`; the colours repeat with another dash pattern after eight. */
function runClass(i: number): string {
  return i < 8 ? `r${i}` : `r${i % 8} dash${1 + (Math.floor(i / 8) % 2)}`;
}

/** The figure, or null when no run has a loss. */
export function lossChart(runs: readonly RunReport[]): Markup | null {
  const drawn = runs.map((run, i) => ({ run, i })).filter(({ run }) => run.curve.train.length > 0);
  if (drawn.length === 0) return null;
  const withRaw = drawn.length <= RUNS_WITH_RAW;
  const points = drawn.flatMap(({ run: { curve } }) => [
    ...curve.smoothed,
    ...curve.validation,
    ...(withRaw ? curve.train : []),
  ]);
  const losses = points.map((point) => point.loss);
  const yTicks = ticks(Math.min(...losses), Math.max(...losses), 6);
  const xTicks = ticks(0, Math.max(...points.map((point) => point.step)), 8);
  const decimals = Math.max(...yTicks.map((tick) => `${Number(tick.toFixed(6))}`.split('.')[1]?.length ?? 0));
  const [low, high, right] = [yTicks[0] ?? 0, yTicks.at(-1) ?? 1, xTicks.at(-1) ?? 1];
  const x = (step: number) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / right;
  const y = (loss: number) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (loss - low)) / (high - low);
  const line = (curve: readonly CurvePoint[]) =>
    curve.map(({ step, loss }, i) => `${i === 0 ? 'M' : 'L'}${px(x(step))} ${px(y(loss))}`).join('');

  const axes = html`${yTicks.map(
      (tick) =>
        html`<line
            class="grid"
            x1="${LEFT}"
            x2="${WIDTH - RIGHT}"
            y1="${px(y(tick))}"
            y2="${px(y(tick))}"
          /><text class="tick end" x="${LEFT - 8}" y="${px(y(tick) + 4)}">${tick.toFixed(decimals)}</text>`,
    )}${xTicks.map(
      (tick) =>
        html`<text class="tick mid" x="${px(x(tick))}" y="${HEIGHT - BOTTOM + 18}">${count(tick)}</text>`,
    )}<text class="tick mid" x="${px((LEFT + WIDTH - RIGHT) / 2)}" y="${HEIGHT - 6}">optimizer step</text>`;
  const curves = drawn.map(
    ({ run: { curve }, i }) =>
      html`<g class="${runClass(i)}">
        ${withRaw && html`<path class="raw" d="${line(curve.train)}" />`}
        <path class="smooth" d="${line(curve.smoothed)}" />
        ${curve.validation.length > 0 && html`<path class="valid" d="${line(curve.validation)}" />`}
        ${curve.validation.map(({ step, loss }) => html`<circle class="dot" cx="${px(x(step))}" cy="${px(y(loss))}" r="3.4" />`)}
      </g>`,
  );
  const described = drawn.map(({ run: { name, curve } }) => {
    const [first, last, validation] = [curve.smoothed[0], curve.smoothed.at(-1), curve.validation.at(-1)];
    const valid = validation ? `, validation loss ${significant(validation.loss)} at the end` : '';
    return `${name}: smoothed training loss from ${significant(first?.loss ?? 0)} to ${significant(last?.loss ?? 0)}${valid}`;
  });
  return html`<figure>
    <figcaption>
      Loss in nats per trained token. ${withRaw ? 'Thin: as measured. ' : ''}Thick: smoothed over a fiftieth
      of the run. Dots: validation.
    </figcaption>
    <div class="plot">
      ${drawing('loss', { width: WIDTH, height: HEIGHT }, 'Training and validation loss by step', `${described.join('. ')}.`, [axes, ...curves])}
    </div>
    <ul class="legend">
      ${drawn.map(
        ({ run, i }) =>
          html`<li>
            <svg class="key ${runClass(i)}" viewBox="0 0 30 10" aria-hidden="true">
              <path class="smooth" d="M0 5h30" />
              <circle class="dot" cx="15" cy="5" r="3.4" />
            </svg>
            ${run.name}
          </li>`,
      )}
    </ul>
    ${lossTable(drawn.map(({ run }) => run))}
  </figure>`;
}

/** The curves as numbers: about twenty steps, and every evaluation. */
function lossTable(runs: readonly RunReport[]): Markup {
  const last = Math.max(...runs.flatMap(({ curve }) => curve.smoothed.map((point) => point.step)));
  const steps = new Set(
    Array.from({ length: TABLE_ROWS }, (_, i) => Math.round((last * (i + 1)) / TABLE_ROWS)),
  );
  for (const { curve } of runs) for (const { step } of curve.validation) steps.add(step);
  // The drawn point nearest below: curves are thinned.
  const at = (curve: readonly CurvePoint[], step: number) =>
    curve.findLast((point) => point.step <= step)?.loss;
  const cell = (loss: number | undefined) => html`<td>${loss === undefined ? '–' : significant(loss)}</td>`;
  return html`<details>
    <summary>Loss as a table</summary>
    <div class="scroll" tabindex="0" role="region" aria-label="Loss as a table">
      <table>
        <thead>
          <tr>
            <th scope="col" rowspan="2">step</th>
            ${runs.map(({ name }) => html`<th scope="colgroup" colspan="2" class="name">${name}</th>`)}
          </tr>
          <tr>
            ${runs.map(
              () =>
                html`<th scope="col">training, smoothed</th>
                  <th scope="col">validation</th>`,
            )}
          </tr>
        </thead>
        <tbody>
          ${[...steps]
            .sort((a, b) => a - b)
            .map(
              (step) =>
                html`<tr>
                  <th scope="row">${count(step)}</th>
                  ${runs.map(
                    ({ curve }) =>
                      html`${cell(step > (curve.smoothed.at(-1)?.step ?? 0) ? undefined : at(curve.smoothed, step))}${cell(curve.validation.find((point) => point.step === step)?.loss)}`,
                  )}
                </tr>`,
            )}
        </tbody>
      </table>
    </div>
  </details>`;
}
