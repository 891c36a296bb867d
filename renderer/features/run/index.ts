/** One run, live or past. */
export { RunPage } from './run-page.tsx';
export { AlongChoice } from './along-choice.tsx';
export { type Along, axisOf, smoothSpan } from './curves.ts';
