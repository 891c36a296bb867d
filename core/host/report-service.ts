/** The `compare` and `reports` parts of the host API, and the findings of a run. */
import type { HostHandlers } from '#core/contract/host-api.ts';
import {
  buildReport,
  compareRuns,
  findingsOf,
  type RunData,
  toHtml,
  toJson,
  toMarkdown,
  usageDifference,
} from '#core/report/index.ts';
import { readAudit, readScores, readRunSpec } from '#core/store/index.ts';
import type { HostContext } from './host-context.ts';
import { summarize } from './run-records.ts';

type ReportHandlers = Pick<HostHandlers, 'compare.get' | 'compare.usage' | 'reports.build' | 'runs.findings'>;

/** Routing records a comparison reads of each run: thirty in each tenth are enough for its averages. */
const ROUTING_LIMIT = 300;

/** Serves comparisons and reports. */
export function createReportHandlers({ ports, readers, rowOf }: HostContext): ReportHandlers {
  const dataOf = (id: string, toStep = Infinity): RunData => {
    const row = rowOf(id);
    const measured = readers.read<Pick<RunData, 'facts' | 'series' | 'routing' | 'checkpoints'>>(
      row.dir,
      { facts: null, series: { steps: [], evaluations: [], events: [] }, routing: [], checkpoints: [] },
      (reader) => ({
        facts: reader.facts(),
        series: seriesUntil(reader.series(), toStep),
        routing: reader.routing({ limit: ROUTING_LIMIT, ...(toStep < Infinity && { toStep }) }),
        checkpoints: reader.checkpoints(),
      }),
    );
    const audit = readAudit(row.dir);
    return {
      summary: summarize(row, readers),
      spec: readRunSpec(row.dir),
      ...measured,
      ...(audit && { audit }),
      scores: readScores(row.dir),
    };
  };

  return {
    'runs.findings': ({ id, step }) => findingsOf(dataOf(id, step)),
    'compare.get': ({ ids }) => compareRuns(ids.map((id) => dataOf(id))),
    'compare.usage': ({ base, other }) => usageDifference(dataOf(base), dataOf(other)),
    'reports.build': ({ ids, format }) => {
      const report = buildReport(
        ids.map((id) => dataOf(id)),
        {
          createdMs: ports.now(),
          program: `Condenser ${ports.version}`,
        },
      );
      const name = ids.length === 1 ? 'report' : 'comparison';
      switch (format) {
        case 'html':
          return { fileName: `${name}.html`, text: toHtml(report) };
        case 'markdown':
          return { fileName: `${name}.md`, text: toMarkdown(report) };
        case 'json':
          return { fileName: `${name}.json`, text: toJson(report) };
      }
    },
  };
}

/** What was known at step `toStep`. */
function seriesUntil({ steps, evaluations, events }: RunData['series'], toStep: number): RunData['series'] {
  const known = <T extends { readonly step: number }>(rows: readonly T[]): T[] =>
    rows.filter(({ step }) => step <= toStep);
  return { steps: known(steps), evaluations: known(evaluations), events: known(events) };
}
