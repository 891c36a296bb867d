import type { ReportData } from '../report-data.ts';

/** The report as a JSON document, for scripts. */
export function toJson(report: ReportData): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}
