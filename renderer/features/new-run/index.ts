/** The form that describes a run. */
export { NewRunPage } from './new-run-page.tsx';
