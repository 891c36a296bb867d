import type { ReactNode } from 'react';
import { Button } from './button.tsx';
import { Icon } from './icons.tsx';

/** A quiet button that shows and hides more of what it stands below. */
export function Disclosure({
  open,
  onToggle,
  children,
}: {
  readonly open: boolean;
  readonly onToggle: () => void;
  readonly children: ReactNode;
}) {
  return (
    <div>
      <Button small look="quiet" className="disclosure" aria-expanded={open} onClick={onToggle}>
        <Icon name="down" size={12} />
        {children}
      </Button>
    </div>
  );
}
