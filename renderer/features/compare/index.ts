/** Runs side by side. */
export { ComparePage } from './compare-page.tsx';
