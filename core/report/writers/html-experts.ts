/** The parts of the HTML report that show experts: findings, heat maps, layers, audits, and one run against another. */
import type { RoutingAudit } from '#core/contract/audit.ts';
import { auditRows, auditSource } from '../audit/audit-rows.ts';
import type { ReportData, RoutingReport, RunReport } from '../report-data.ts';
import { OVERLOAD } from '#core/load/load-metrics.ts';
import { count, percent, significant } from '../format.ts';
import { heatMap, mapsPerRow } from './heat-map.ts';
import { html, type Markup } from './markup.ts';

const SEVERITY = { warning: 'Look at this:', info: 'Note:', good: 'Fine:' };

/** Further runs minus the first one, all on the widest of their scales. */
export function usage({ usage: all, runs }: ReportData): Markup {
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

/** What to look at in run number `i`, and its experts. */
export function experts(run: RunReport, i: number, several: boolean): Markup {
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
