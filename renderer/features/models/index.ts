/** Checkpoint folders on this machine. */
export { ModelsPage } from './models-page.tsx';
