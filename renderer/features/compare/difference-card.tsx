import type { Comparison } from '#core/contract/run.ts';
import { Card } from '../../ui/card.tsx';
import { EmptyState } from '../../ui/states.tsx';

/** JSON text as people write it: strings without quotes. */
function plain(json: string): string {
  return json.startsWith('"') && json.endsWith('"') ? json.slice(1, -1) : json;
}

/** Fields of the specifications that differ, run beside run. */
export function DifferenceCard({ runs, differences }: Pick<Comparison, 'runs' | 'differences'>) {
  return (
    <Card title="What differs in the configuration" flush={differences.length > 0}>
      {differences.length === 0 ? (
        <EmptyState
          inset
          text={
            runs.length < 2 ? 'Choose a second run to see what differs.' : 'The configurations are equal.'
          }
        />
      ) : (
        // A region that scrolls must be reachable by keyboard.
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Differences">
          <table className="table">
            <thead>
              <tr>
                <th scope="col" className="text">
                  Field
                </th>
                {runs.map((run) => (
                  <th key={run.id} scope="col" className="text">
                    <span className="difference-head" title={run.name}>
                      {run.name}
                    </span>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {differences.map(({ field, values }) => (
                <tr key={field}>
                  <th scope="row" className="text">
                    <code>{field}</code>
                  </th>
                  {runs.map((run, i) => {
                    const value = values[i];
                    return (
                      <td key={run.id} className="text">
                        {value === null || value === undefined ? (
                          <span className="muted">not set</span>
                        ) : (
                          <code>{plain(value)}</code>
                        )}
                      </td>
                    );
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
