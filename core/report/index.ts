/** What runs measured, as comparisons, findings in words, and reports. Pure: everything comes in as values. */
export { buildReport } from './build-report.ts';
export type { ReportData } from './report-data.ts';
export { EXTRACTOR_VERSION, statedAnswer } from './scores/answer-extraction.ts';
export { compareRuns } from './compare-runs.ts';
export { shareOf } from './metrics/confidence.ts';
export {
  OutputCosines,
  condenserTailCorrelation,
  coSelection_EE,
  cosines_EE,
} from './metrics/expert-correlation.ts';
export { effectiveUpdates_E, expectedUpdates, starvation } from './metrics/expert-updates.ts';
export { groupRows } from './group-rows.ts';
export { findingsOf } from './run-findings.ts';
export { massiveExperts } from './metrics/massive-experts.ts';
export type { RunData } from './run-data.ts';
export { answerRule, markAnswer, suiteScore, type Marked } from './scores/suite-scores.ts';
export { usageDifference } from './metrics/usage-difference.ts';
export { toHtml } from './writers/to-html.ts';
export { toJson } from './writers/to-json.ts';
export { toMarkdown } from './writers/to-markdown.ts';
export { answerFlags, answerWords, isRefusal, refusalRule } from './audit/refusal-rates.ts';
export { auditUnits, unitWords, type ProjectionPeaks } from './audit/unit-audit.ts';
export { auditLayer, auditWords, profileLayer } from './audit/routing-audit.ts';
export { DriftSum, RoutingSum, type RoutingDrift, type TokenRouting } from './metrics/token-routing.ts';
