/** Bringing files into the app. */
export { DropZone } from './drop-zone.tsx';
export { ImportControls } from './import-controls.tsx';
export { PathChoice } from './path-choice.tsx';
export { useImport } from './use-import.ts';
