/**
 * The report as one HTML file that asks for nothing: styles and drawings are inside, its content security policy forbids
 * every request and script.
 */
import type { ReportData, RunReport } from '../report-data.ts';
import { groupRows } from '../group-rows.ts';
import { experts, usage } from './html-experts.ts';
import { lossChart } from './loss-chart.ts';
import { html, type Markup } from './markup.ts';
import { resultRows } from '../result-rows.ts';
import { reportStyle } from './report-style.ts';

/** Lays `report` out as a complete document. */
export function toHtml(report: ReportData): string {
  const several = report.runs.length > 1;
  const document = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        />
        <meta name="generator" content="${report.program}" />
        <title>${report.title}</title>
        <style>
          ${{ markup: reportStyle }}
        </style>
      </head>
      <body>
        <main>
          <header>
            <h1>${report.title}</h1>
            <p class="muted">Report of ${date(report.createdMs)} · ${report.program}</p>
          </header>
          <section aria-labelledby="summary">
            <h2 id="summary">Summary</h2>
            <ul class="summary">
              ${report.summary.map((sentence) => html`<li>${sentence}</li>`)}
            </ul>
          </section>
          <section aria-labelledby="results">
            <h2 id="results">Results</h2>
            ${results(report)}${overSeeds(report)}
          </section>
          <section aria-labelledby="losses">
            <h2 id="losses">Loss</h2>
            ${lossChart(report.runs) ?? html`<p>No step was trained.</p>`}
          </section>
          ${several && usage(report)}${report.runs.map((run, i) => experts(run, i, several))}
          <section aria-labelledby="configuration">
            <h2 id="configuration">Configuration</h2>
            ${several && differences(report)}${report.runs.map((run) => configuration(run))}
          </section>
          <section aria-labelledby="proof">
            <h2 id="proof">Reproduce</h2>
            ${reproduce(report)}
          </section>
          <section aria-labelledby="counting">
            <h2 id="counting">How the numbers were counted</h2>
            <ul>
              ${report.method.map((sentence) => html`<li>${sentence}</li>`)}
            </ul>
          </section>
        </main>
      </body>
    </html>`;
  return `${document.markup}
`;
}

function results({ runs }: ReportData): Markup {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Results of all runs">
    <table class="${runs.length === 1 ? 'narrow' : 'wide'}">
      <caption>
        One column a run. A dash: not measured.
      </caption>
      <thead>
        <tr>
          <th scope="col">measure</th>
          ${runs.map((run) => html`<th scope="col" class="name">${run.name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${resultRows(runs).map(
          ([label = '', ...values]) =>
            html`<tr>
              <th scope="row">${label}</th>
              ${values.map((value) => html`<td>${value}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Repetitions taken together, where there are any. */
function overSeeds({ comparison }: ReportData): Markup | null {
  const [head, ...rows] = groupRows(comparison);
  if (head === undefined) return null;
  return html`<h3>Over seeds</h3>
    <div class="scroll" tabindex="0" role="region" aria-label="Results over seeds">
      <table>
        <caption>
          Mean ± half the width of its 95 % interval (Student’s t) over the seeds of a setting.
          ${comparison.rateChoice.length > 0 && 'Best: the learning rate at which a method is compared, see the summary.'}
          ${comparison.notComparable.length > 0 && '≠: not comparable between the runs, see the summary.'}
        </caption>
        <thead>
          <tr>
            ${head.map((title) => html`<th scope="col">${title}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ([label = '', ...cells]) =>
              html`<tr>
                <th scope="row" class="name">${label}</th>
                ${cells.map((cell) => html`<td>${cell}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

function differences({ comparison, runs }: ReportData): Markup {
  if (comparison.differences.length === 0) return html`<p>The runs have the same configuration.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Differences of configuration">
    <table class="left">
      <caption>
        Fields that differ. A dash: not given.
      </caption>
      <thead>
        <tr>
          <th scope="col">field</th>
          ${runs.map((run) => html`<th scope="col" class="name">${run.name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${comparison.differences.map(
          ({ field, values }) =>
            html`<tr>
              <th scope="row"><code>${field}</code></th>
              ${values.map((value) => html`<td class="code">${value ?? '–'}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function configuration(run: RunReport): Markup {
  return html`<details class="kept">
    <summary>Full configuration of ${run.name}</summary>
    <pre>${JSON.stringify(run.spec, null, 2)}</pre>
  </details>`;
}

function reproduce({ runs }: ReportData): Markup {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.facts?.hashes ?? {})))];
  return html`<p>
      Save the full configuration of a run (above) as <code>run.json</code>, with the paths of your copies of
      model and data, and run:
    </p>
    <pre>condenser train run.json</pre>
    ${
      keys.length === 0
        ? html`<p>No hashes were recorded: no run got as far as its data.</p>`
        : html`<div class="scroll" tabindex="0" role="region" aria-label="Hashes">
            <table class="left">
              <caption>
                What went into each run (SHA-256). Compare them before the results.
              </caption>
              <thead>
                <tr>
                  <th scope="col">of</th>
                  ${runs.map((run) => html`<th scope="col" class="name">${run.name}</th>`)}
                </tr>
              </thead>
              <tbody>
                ${keys.map(
                  (key) =>
                    html`<tr>
                      <th scope="row">${key}</th>
                      ${runs.map((run) => html`<td class="code">${run.facts?.hashes[key] ?? '–'}</td>`)}
                    </tr>`,
                )}
                <tr>
                  <th scope="row">computed by</th>
                  ${runs.map(({ facts }) => html`<td>${facts === null ? '–' : `${facts.provider}, ${facts.threads} threads`}</td>`)}
                </tr>
              </tbody>
            </table>
          </div>`
    }`;
}

/** Day and minute in UTC. */
function date(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
