/** Bringing files into the app. */
export { DropZone } from './drop-zone.tsx';
export { ImportControls } from './import-controls.tsx';
export { useImport } from './use-import.ts';
