/** Golden cases: what reference implementations computed, and how this engine compares. */
export type { CaseResult, Check } from './golden-case.ts';
export { runCase } from './run-case.ts';
