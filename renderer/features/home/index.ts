/** The first page: try it, go on with a run, bring data. */
export { HomePage } from './home-page.tsx';
