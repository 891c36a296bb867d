/** The `compare` and `reports` parts of the host API. */
import type { HostHandlers } from '#core/contract/host-api.ts';
import { buildReport, compareRuns, type RunData, toHtml, toJson, toMarkdown } from '#core/report/index.ts';
import { readRunSpec } from '#core/store/index.ts';
import type { HostContext } from './host-context.ts';
import { summarize } from './run-records.ts';
import type { RunService } from './run-service.ts';

type ReportHandlers = Pick<HostHandlers, 'compare.get' | 'reports.build'>;

/** Routing records a comparison reads of each run: thirty in each tenth are enough for its averages. */
const ROUTING_LIMIT = 300;

/** Serves comparisons and reports. */
export function createReportHandlers({ ports, readers }: HostContext, runs: RunService): ReportHandlers {
  const dataOf = (id: string): RunData => {
    const row = runs.rowOf(id);
    const measured = readers.read<Pick<RunData, 'facts' | 'series' | 'routing' | 'checkpoints'>>(
      row.dir,
      { facts: null, series: { steps: [], evaluations: [], events: [] }, routing: [], checkpoints: [] },
      (reader) => ({
        facts: reader.facts(),
        series: reader.series(),
        routing: reader.routing({ limit: ROUTING_LIMIT }),
        checkpoints: reader.checkpoints(),
      }),
    );
    return { summary: summarize(row, readers), spec: readRunSpec(row.dir), ...measured };
  };

  return {
    'compare.get': ({ ids }) => compareRuns(ids.map(dataOf)),
    'reports.build': ({ ids, format }) => {
      const report = buildReport(ids.map(dataOf), {
        createdMs: ports.now(),
        program: `Condenser ${ports.version}`,
      });
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
