/** The list of runs. */
export { RunTable } from './run-table.tsx';
export { RunsPage } from './runs-page.tsx';
