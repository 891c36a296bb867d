import { Select as Base } from '@base-ui/react/select';
import type { Ref } from 'react';
import { Icon } from './icons.tsx';

/** One choice of a `Select`. */
export interface Choice {
  readonly value: string;
  readonly label: string;
  /** Shown after the label in the list. */
  readonly note?: string;
  readonly disabled?: boolean;
}

/** A drop-down list; `value` null shows the placeholder. */
export function Select({
  label,
  value,
  choices,
  placeholder = 'Choose…',
  small,
  disabled,
  describedBy,
  triggerRef,
  onChange,
}: {
  /** Accessible name. */
  readonly label: string;
  readonly value: string | null;
  readonly choices: readonly Choice[];
  readonly placeholder?: string;
  readonly small?: boolean;
  readonly disabled?: boolean;
  /** Id of the element that says what it does. */
  readonly describedBy?: string;
  /** The button that opens the list, to focus it. */
  readonly triggerRef?: Ref<HTMLButtonElement>;
  readonly onChange: (value: string) => void;
}) {
  return (
    <Base.Root
      value={value}
      items={choices}
      disabled={disabled ?? false}
      onValueChange={(next) => {
        if (next !== null) onChange(next);
      }}
    >
      <Base.Trigger
        {...(triggerRef !== undefined && { ref: triggerRef })}
        className={small ? 'select-trigger small' : 'select-trigger'}
        aria-label={label}
        aria-describedby={describedBy}
      >
        <span className="ellipsis">
          <Base.Value placeholder={placeholder} />
        </span>
        <Icon name="down" size={12} />
      </Base.Trigger>
      <Base.Portal>
        <Base.Positioner className="popup-layer" sideOffset={4} alignItemWithTrigger={false}>
          <Base.Popup className="popup">
            {choices.map((choice) => (
              <Base.Item
                key={choice.value}
                value={choice.value}
                disabled={choice.disabled ?? false}
                className="popup-item"
              >
                <Base.ItemText>{choice.label}</Base.ItemText>
                {choice.note !== undefined && <small>{choice.note}</small>}
              </Base.Item>
            ))}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}
