/**
 * The report as one HTML file that asks for nothing: styles and drawings are inside, its content security policy forbids
 * every request and script.
 */
import type { RoutingAudit } from '#core/contract/audit.ts';
import { auditRows, auditSource } from './audit-rows.ts';
import type { ReportData, RoutingReport, RunReport } from './report-data.ts';
import { OVERLOAD } from './routing-metrics.ts';
import { count, percent, significant } from './format.ts';
import { groupRows } from './group-rows.ts';
import { heatMap, mapsPerRow } from './heat-map.ts';
import { lossChart } from './loss-chart.ts';
import { html, type Markup } from './markup.ts';
import { resultRows } from './result-rows.ts';
import { reportStyle } from './report-style.ts';

const SEVERITY = { warning: 'Look at this:', info: 'Note:', good: 'Fine:' };

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

/** Further runs minus the first one, all on the widest of their scales. */
function usage({ usage: all, runs }: ReportData): Markup {
  const maps = all.flatMap((one) => ('absent' in one ? [] : [one]));
  const limit = Math.max(...maps.map((map) => map.limit));
  return html`<section aria-labelledby="usage">
    <h2 id="usage">Expert usage, run against run</h2>
    <p class="muted">
      Load of the last tenth, in multiples of the uniform load, minus that of ${runs[0]?.name}. No colour is
      the same load, orange more, blue less; bars at the right: share of the layer’s selections that go to
      other experts. Outlined: condensers of the run named.
    </p>
    <ul>
      ${all.flatMap((one, i) => ('absent' in one ? [one.absent] : one.words.map((words) => `${runs[i + 1]?.name ?? ''}: ${words}`))).map((sentence) => html`<li>${sentence}</li>`)}
    </ul>
    <div class="maps of${mapsPerRow(maps[0]?.experts ?? 0)}">
      ${maps.map((map, i) =>
        heatMap({
          id: `usage-${i}`,
          title: `${map.other.name} minus ${map.base.name}`,
          description: `Rows are layers, the input at the top; columns are experts. ${map.words.join(' ')}`,
          layers: map.layers,
          values_LE: map.difference_LE,
          toScale: (value) => value / limit,
          outlined: map.other.condensers_L,
          bars: { name: 'moved', value_L: map.moved_L },
          scaleLabels: [`−${significant(limit, 2)}`, 'same', `+${significant(limit, 2)}`],
        }),
      )}
    </div>
  </section>`;
}

function experts(run: RunReport, i: number, several: boolean): Markup {
  const id = `run-${i}`;
  return html`<section aria-labelledby="${id}">
    <h2 id="${id}">${several ? run.name : 'Findings and experts'}</h2>
    <h3>What to look at</h3>
    ${
      run.findings.length === 0
        ? html`<p>No rule found anything to report.</p>`
        : html`<ul class="findings">
            ${run.findings.map((finding) => html`<li class="${finding.severity}"><b>${SEVERITY[finding.severity]}</b>${finding.text}<small>${finding.action}</small></li>`)}
          </ul>`
    }
    ${run.routing ? [loadMaps(run.routing, id), layerTable(run.routing, run.name)] : html`<p>Expert usage was not recorded.</p>`}
    ${run.audit && auditOf(run.audit, run.name)}
  </section>`;
}

/** What the audit of a run found. */
function auditOf(audit: RoutingAudit, run: string): Markup {
  const { heads, rows } = auditRows(audit);
  return html`<h3>Audit of the routing of refused requests</h3>
    <p class="muted">${auditSource(audit)}</p>
    <ul>
      ${audit.summary.map((sentence) => html`<li>${sentence}</li>`)}
    </ul>
    <div class="scroll" tabindex="0" role="region" aria-label="Audit by layer of ${run}">
      <table>
        <thead>
          <tr>
            ${heads.map((label) => html`<th scope="col">${label}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ([layer, ...cells]) =>
              html`<tr>
                <th scope="row">${layer}</th>
                ${cells.map((cell) => html`<td>${cell}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

function loadMaps(routing: RoutingReport, id: string): Markup {
  const { layers, experts, first, last, bias_LE } = routing;
  const shared = {
    layers: layers.map((layer) => layer.layer),
    outlined: layers.map((layer) => layer.condensers),
  };
  const onLog2 = (ratio: number) => Math.log2(ratio) / 2;
  const loadScale = ['≤ ¼', '½', 'uniform', '2', '≥ 4'];
  const noToken = (map: typeof first) => (l: number, e: number) => map.load_LE[l]?.[e] === 0;
  const steps = (map: typeof first) => `steps ${count(map.fromStep)}–${count(map.toStep)}`;
  const ratio_LE = last.load_LE.map((row, l) =>
    row.map((load, e) => ratioOf(load, first.load_LE[l]?.[e] ?? 0)),
  );
  const largest = Math.max(...(bias_LE ?? []).flat().map(Math.abs), 0);
  const most = layers.toSorted((a, b) => b.lastGini - a.lastGini)[0];
  const described = `Rows are layers, the input at the top; columns are experts.`;
  return html`<h3>Expert load ÷ uniform</h3>
    <p class="muted">
      Rows are layers with the input at the top, columns are experts. No colour is the uniform load, orange
      more, blue less. Struck through: no
      token.${layers.some((layer) => layer.condensers.length > 0) ? ' Outlined: condensers (always active; their selections as choices are shown).' : ''}
    </p>
    <div class="maps of${mapsPerRow(experts)}">
      ${heatMap({ ...shared, id: `${id}-first`, title: `First tenth, ${steps(first)}`, description: described, values_LE: first.load_LE, toScale: onLog2, struck: noToken(first), bars: { name: 'Gini', value_L: layers.map((layer) => layer.firstGini) }, scaleLabels: loadScale })}
      ${heatMap({ ...shared, id: `${id}-last`, title: `Last tenth, ${steps(last)}`, description: `${described} Most uneven is layer ${most?.layer ?? 0} with Gini ${significant(most?.lastGini ?? 0, 2)}.`, values_LE: last.load_LE, toScale: onLog2, struck: noToken(last), bars: { name: 'Gini', value_L: layers.map((layer) => layer.lastGini) }, scaleLabels: loadScale })}
      ${heatMap({ ...shared, id: `${id}-difference`, title: 'Last ÷ first: what training changed', description: described, values_LE: ratio_LE, toScale: onLog2, scaleLabels: ['≤ ¼', '½', 'same', '2', '≥ 4'] })}
      ${bias_LE && heatMap({ ...shared, id: `${id}-bias`, title: `Router bias after step ${count(last.toStep)}`, description: `${described} The largest bias is ${significant(largest, 2)}.`, values_LE: bias_LE, toScale: (value) => (largest === 0 ? 0 : value / largest), scaleLabels: [significant(-largest, 2), '0', significant(largest, 2)] })}
    </div>`;
}

/** Load after ÷ load before; 1 where both are zero. */
function ratioOf(after: number, before: number): number {
  return before === after ? 1 : after / before;
}

function layerTable({ layers, experts }: RoutingReport, run: string): Markup {
  const condensers = layers.some((layer) => layer.condensers.length > 0);
  const drift = layers.some((layer) => layer.drift !== undefined);
  return html`<h3>Layers</h3>
    <div class="scroll" tabindex="0" role="region" aria-label="Metrics by layer of ${run}">
      <table>
        <caption>
          Load of the last tenth of the run over ${experts} experts, unless said otherwise. Overloaded: more
          than ${OVERLOAD} times uniform.
        </caption>
        <thead>
          <tr>
            ${['layer', 'Gini, first tenth', 'Gini, last tenth', 'Gini, mean', 'entropy ÷ max', 'max ÷ mean', 'dead', 'overloaded', 'experts for half', ...(drift ? ['drift, nats', 'moved'] : []), ...(condensers ? ['condensers'] : [])].map((label) => html`<th scope="col">${label}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${layers.map(
            (row) =>
              html`<tr>
                <th scope="row">${row.layer}</th>
                ${[row.firstGini, row.lastGini, row.meanGini, row.entropyNormalised].map((value) => html`<td>${value.toFixed(3)}</td>`)}
                <td>${significant(row.maxOverMean, 3)}</td>
                <td>${row.dead}</td>
                <td>${row.overloaded}</td>
                <td>${row.expertsForHalf}</td>
                ${
                  drift &&
                  html`<td>${row.drift === undefined ? '–' : significant(row.drift, 3)}</td>
                    <td>${row.moved === undefined ? '–' : percent(row.moved)}</td>`
                }${condensers && html`<td>${row.condensers.join(', ')}</td>`}
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
