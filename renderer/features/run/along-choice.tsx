import { Segmented } from '../../ui/segmented.tsx';
import type { Along } from './curves.ts';

/** What curves are drawn along. */
export function AlongChoice({
  value,
  onChange,
}: {
  readonly value: Along;
  readonly onChange: (along: Along) => void;
}) {
  return (
    <Segmented
      label="Along"
      value={value}
      choices={[
        { value: 'step', label: 'step' },
        { value: 'tokens', label: 'tokens' },
        { value: 'time', label: 'time' },
      ]}
      onChange={onChange}
    />
  );
}
