import { Button } from '../../ui/button.tsx';
import { Dialog } from '../../ui/dialog.tsx';
import type { Destination } from './use-shortcuts.ts';
import './keyboard.css';

/** Every shortcut, by what it does. */
export function ShortcutsDialog({
  open,
  pages,
  onClose,
}: {
  readonly open: boolean;
  readonly pages: readonly Destination[];
  readonly onClose: () => void;
}) {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ...pages.map((page) => [`Go to ${page.title}`, ['G', page.letter.toUpperCase()]] as const),
    ['New run', ['N']],
    ['Search', ['/']],
    ['These shortcuts', ['?']],
    ['Close a dialog or list', ['Esc']],
    ['Move in the heat map', ['←', '→', '↑', '↓']],
    ['Open an expert', ['Enter']],
    ['Back to the newest step of a run', ['L']],
  ];
  return (
    <Dialog open={open} title="Keyboard" onClose={onClose}>
      <dl className="shortcuts">
        {rows.map(([what, keys]) => (
          <div key={what}>
            <dt>{what}</dt>
            <dd>
              {keys.map((key) => (
                <kbd key={key} className="kbd">
                  {key}
                </kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
      <div className="dialog-actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}
