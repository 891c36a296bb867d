/** What runs measured, as comparisons, findings in words, and reports. Pure: everything comes in as values. */
export { buildReport } from './build-report.ts';
export type { ReportData } from './report-data.ts';
export { compareRuns } from './compare-runs.ts';
export { findingsOf } from './run-findings.ts';
export { loadMetrics } from './routing-metrics.ts';
export type { RunData } from './run-data.ts';
export { toHtml } from './to-html.ts';
export { toJson } from './to-json.ts';
export { toMarkdown } from './to-markdown.ts';
