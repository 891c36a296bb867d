import { Switch as Base } from '@base-ui/react/switch';

/** On or off. */
export function Switch({
  label,
  checked,
  id,
  describedBy,
  onChange,
}: {
  /** Accessible name. */
  readonly label: string;
  readonly checked: boolean;
  readonly id?: string;
  /** Id of the element that says what it does. */
  readonly describedBy?: string;
  readonly onChange: (checked: boolean) => void;
}) {
  return (
    <Base.Root
      id={id}
      className="switch"
      aria-label={label}
      aria-describedby={describedBy}
      checked={checked}
      onCheckedChange={(next) => onChange(next)}
    >
      <Base.Thumb className="switch-thumb" />
    </Base.Root>
  );
}
