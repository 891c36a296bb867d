/** Bringing files into the app. */
export { DropZone, useDropped } from './drop-zone.tsx';
export { ImportControls } from './import-controls.tsx';
export { register, useImport, type ImportSource } from './use-import.ts';
