/** What runs measured, as comparisons, findings in words, and reports. Pure: everything comes in as values. */
export { buildReport } from './build-report.ts';
export type { ReportData } from './report-data.ts';
export { compareRuns } from './compare-runs.ts';
export { OutputCosines, condenserTailCorrelation, coSelection_EE, cosines_EE } from './expert-correlation.ts';
export { effectiveUpdates_E, expectedUpdates, starvation } from './expert-updates.ts';
export { groupRows } from './group-rows.ts';
export { findingsOf } from './run-findings.ts';
export { massiveExperts } from './massive-experts.ts';
export { divergencesOf, loadMetrics, shares, type LoadMetrics } from './routing-metrics.ts';
export type { RunData } from './run-data.ts';
export { usageDifference } from './usage-difference.ts';
export { toHtml } from './to-html.ts';
export { toJson } from './to-json.ts';
export { toMarkdown } from './to-markdown.ts';
export { answerFlags, answerWords, isRefusal, refusalRate, refusalRule } from './refusal-rates.ts';
export { auditUnits, unitWords, type ProjectionPeaks } from './unit-audit.ts';
export { auditLayer, auditWords, profileLayer } from './routing-audit.ts';
export { DriftSum, RoutingSum, type RoutingDrift, type TokenRouting } from './token-routing.ts';
