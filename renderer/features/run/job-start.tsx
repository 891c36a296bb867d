import { toErrorInfo } from '#core/contract/errors.ts';
import { Button } from '../../ui/button.tsx';
import { ErrorNote } from '../../ui/states.tsx';

/** The end of a form that begins something with the model of a run: go, leave, and why it cannot or did not begin. */
export function JobStart({
  word,
  start,
  blocked,
  onStart,
  onClose,
}: {
  /** On the button. */
  readonly word: string;
  readonly start: { readonly isPending: boolean; readonly error: Error | null };
  /** What is missing. */
  readonly blocked: string | undefined;
  readonly onStart: () => void;
  readonly onClose: () => void;
}) {
  const isOff = blocked !== undefined || start.isPending;
  return (
    <>
      {start.error !== null && <ErrorNote what="It was not started" error={toErrorInfo(start.error)} />}
      <div className="row wrap">
        <Button look="primary" aria-disabled={isOff} onClick={() => !isOff && onStart()}>
          {start.isPending ? 'Starting…' : word}
        </Button>
        <Button onClick={onClose}>Cancel</Button>
        {blocked !== undefined && <span className="muted">{blocked}</span>}
      </div>
    </>
  );
}
