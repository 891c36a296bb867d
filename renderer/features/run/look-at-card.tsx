import type { RunFinding } from '#core/contract/run-finding.ts';
import { useCall } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { EmptyState, Loaded } from '../../ui/states.tsx';
import type { ExpertPlace } from './expert-history.ts';

const words = { warning: 'Look at', info: 'Note', good: 'Good' };
const tones = { warning: 'warn', info: 'info', good: 'ok' };

/** How often the sentences of a run at work are asked for again. */
const EVERY_MS = 4000;

/** What the numbers of a run say, in sentences, as of the step shown. */
export function LookAtCard({
  id,
  at,
  live,
  layerNames,
  onStep,
  onExpert,
}: {
  readonly id: string;
  /** The step shown; undefined: the newest. */
  readonly at: number | undefined;
  readonly live: boolean;
  /** Decoder layer index of each row of the routing records. */
  readonly layerNames: readonly number[];
  readonly onStep: (step: number) => void;
  readonly onExpert: (place: ExpertPlace) => void;
}) {
  const found = useCall(
    'runs.findings',
    { id, ...(at !== undefined && { step: at }) },
    { keep: true, ...(live && at === undefined && { everyMs: EVERY_MS }) },
  );
  const action = ({ layer, expert, step }: RunFinding) => {
    const row = layer === undefined ? -1 : layerNames.indexOf(layer);
    if (row >= 0 && expert !== undefined) {
      return (
        <Button small onClick={() => onExpert({ row, expert })}>
          Open expert
        </Button>
      );
    }
    if (step === undefined) return null;
    return (
      <Button small onClick={() => onStep(step)}>
        Step {step}
      </Button>
    );
  };
  return (
    <Card title="What to look at">
      <Loaded query={found} what="what deserves attention" lines={3}>
        {(findings) =>
          findings.length === 0 ? (
            <EmptyState
              inset
              text="Nothing stands out so far. Sentences come with routing records and evaluations."
            />
          ) : (
            <ul className="look-at">
              {findings.map((finding) => (
                <li key={`${finding.rule} ${finding.layer ?? ''} ${finding.expert ?? ''}`}>
                  <i className={`look-dot ${tones[finding.severity]}`}>
                    <span className="visually-hidden">{words[finding.severity]}: </span>
                  </i>
                  <div>
                    {finding.text}
                    <small>{finding.action}</small>
                  </div>
                  {action(finding)}
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </Card>
  );
}
