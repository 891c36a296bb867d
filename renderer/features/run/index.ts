/** One run, live or past. */
export { RunPage } from './run-page.tsx';
export { type Along, axisOf, smoothSpan } from './curves.ts';
