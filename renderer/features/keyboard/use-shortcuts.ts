import { useEffect, useRef } from 'react';

/** A page that can be gone to by G and its letter. */
export interface Destination {
  readonly path: string;
  readonly title: string;
  readonly letter: string;
}

/** What keys can do. */
export interface ShortcutActions {
  readonly go: (path: string) => void;
  readonly search: () => void;
  readonly help: () => void;
}

/** The letter after G must follow within this time. */
const SEQUENCE_MS = 1200;

/** True where keys belong to a control: text is typed there. */
function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.closest('input, textarea, select, [contenteditable], [role=dialog]') !== null
  );
}

/** Listens for `G` + letter, `N`, `/` and `?` everywhere but in fields and dialogs. */
export function useShortcuts(pages: readonly Destination[], actions: ShortcutActions): void {
  const latest = useRef(actions);
  useEffect(() => {
    latest.current = actions;
  });
  useEffect(() => {
    let goUntilMs = 0;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const key = event.key.toLowerCase();
      const { go, search, help } = latest.current;
      if (Date.now() < goUntilMs) {
        goUntilMs = 0;
        const page = pages.find((candidate) => candidate.letter === key);
        if (page !== undefined) {
          event.preventDefault();
          go(page.path);
        }
        return;
      }
      if (key === 'g') goUntilMs = Date.now() + SEQUENCE_MS;
      else if (key === 'n') go('/new');
      else if (key === '?') help();
      else if (key === '/') {
        event.preventDefault();
        search();
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [pages]);
}
