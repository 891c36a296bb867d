import type { ReportData } from './build-report.ts';

/** The report as a JSON document, for scripts. */
export function toJson(report: ReportData): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}
