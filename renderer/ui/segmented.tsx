import { Toggle } from '@base-ui/react/toggle';
import { ToggleGroup } from '@base-ui/react/toggle-group';

/** A few choices side by side, one of them on. */
export function Segmented<V extends string>({
  label,
  value,
  choices,
  onChange,
}: {
  /** Accessible name of the group. */
  readonly label: string;
  readonly value: V;
  readonly choices: readonly {
    readonly value: V;
    readonly label: string;
    readonly disabled?: boolean;
    readonly why?: string;
  }[];
  readonly onChange: (value: V) => void;
}) {
  return (
    <ToggleGroup
      className="segmented"
      aria-label={label}
      value={[value]}
      onValueChange={(next) => {
        const chosen = choices.find((choice) => choice.value === next[0]);
        if (chosen !== undefined) onChange(chosen.value);
      }}
    >
      {choices.map((choice) => (
        <Toggle
          key={choice.value}
          value={choice.value}
          disabled={choice.disabled ?? false}
          title={choice.why}
        >
          {choice.label}
        </Toggle>
      ))}
    </ToggleGroup>
  );
}
