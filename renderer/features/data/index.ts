/** Data sets: what they hold and what the model will read of them. */
export { DataPage } from './data-page.tsx';
