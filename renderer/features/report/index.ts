/** One file that proves a result. */
export { ReportPage } from './report-page.tsx';
