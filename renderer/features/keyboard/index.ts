/** Keyboard paths to everything. */
export { SearchDialog } from './search-dialog.tsx';
export { ShortcutsDialog } from './shortcuts-dialog.tsx';
export { useShortcuts } from './use-shortcuts.ts';
