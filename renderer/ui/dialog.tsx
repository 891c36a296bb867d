import { Dialog as Base } from '@base-ui/react/dialog';
import { type ReactNode, useRef } from 'react';

/** A modal question or panel; focus returns to where it was when it closes. */
export function Dialog({
  open,
  title,
  wide,
  focusTitle,
  children,
  onClose,
}: {
  readonly open: boolean;
  readonly title: string;
  readonly wide?: boolean;
  /** Focus starts on the title: for panels to read, whose first control would be the one that closes them. */
  readonly focusTitle?: boolean;
  readonly children: ReactNode;
  readonly onClose: () => void;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  return (
    <Base.Root
      open={open}
      onOpenChange={(next) => {
        if (!next) onClose();
      }}
    >
      <Base.Portal>
        <Base.Backdrop className="backdrop popup-layer" />
        <Base.Popup
          className={`dialog popup-layer ${wide ? 'wide' : ''}`}
          {...(focusTitle && { initialFocus: heading })}
        >
          <Base.Title ref={heading} className="dialog-title" {...(focusTitle && { tabIndex: -1 })}>
            {title}
          </Base.Title>
          {children}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
