/** What runs measured, as comparisons, findings in words, and reports. Pure: everything comes in as values. */
export { type Alert, alertsOf } from './alerts.ts';
export { buildReport, type ReportData } from './build-report.ts';
export { compareRuns } from './compare-runs.ts';
export {
  gini,
  jensenShannon,
  klDivergence,
  type LoadMetrics,
  loadMetrics,
  overloaded,
  topShare,
  totalVariation,
} from './routing-metrics.ts';
export type { RunData } from './run-data.ts';
export { toHtml } from './to-html.ts';
export { toJson } from './to-json.ts';
export { toMarkdown } from './to-markdown.ts';
