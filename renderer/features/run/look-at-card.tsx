import { useMemo } from 'react';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { EmptyState } from '../../ui/states.tsx';
import { type LookAction, lookAt, type LookAtInput } from './look-at.ts';

const words = { bad: 'Problem', warn: 'Look at', ok: 'Good' };

/** What the charts say, in sentences. */
export function LookAtCard({
  input,
  onAction,
}: {
  readonly input: LookAtInput;
  readonly onAction: (action: LookAction) => void;
}) {
  const found = useMemo(() => lookAt(input), [input]);
  return (
    <Card title="What to look at">
      {found.length === 0 ? (
        <EmptyState
          inset
          text="Sentences about this run come with its first routing records and evaluations."
        />
      ) : (
        <ul className="look-at">
          {found.map(({ key, tone, text, detail, action }) => (
            <li key={key}>
              <i className={`look-dot ${tone}`}>
                <span className="visually-hidden">{words[tone]}: </span>
              </i>
              <div>
                {text}
                <small>{detail}</small>
              </div>
              {action !== undefined && (
                <Button small onClick={() => onAction(action)}>
                  {action.kind === 'step' ? `Step ${action.step}` : 'Open expert'}
                </Button>
              )}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
