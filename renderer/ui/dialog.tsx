import { Dialog as Base } from '@base-ui/react/dialog';
import type { ReactNode } from 'react';

/** A modal question or panel; focus returns to where it was when it closes. */
export function Dialog({
  open,
  title,
  wide,
  children,
  onClose,
}: {
  readonly open: boolean;
  readonly title: string;
  readonly wide?: boolean;
  readonly children: ReactNode;
  readonly onClose: () => void;
}) {
  return (
    <Base.Root
      open={open}
      onOpenChange={(next) => {
        if (!next) onClose();
      }}
    >
      <Base.Portal>
        <Base.Backdrop className="backdrop popup-layer" />
        <Base.Popup className={`dialog popup-layer ${wide ? 'wide' : ''}`}>
          <Base.Title className="dialog-title">{title}</Base.Title>
          {children}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
