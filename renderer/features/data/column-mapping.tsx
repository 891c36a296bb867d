import { useState } from 'react';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import { toErrorInfo } from '#core/contract/errors.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card } from '../../ui/card.tsx';
import { Select } from '../../ui/select.tsx';
import { ErrorNote, Loaded } from '../../ui/states.tsx';
import { columnFields, fieldOf, mapColumn, missingFields, rolesToMap } from './mapping-fields.ts';
import { RoleMapping } from './role-mapping.tsx';

/** Raw rows that are looked at for names of roles, and how many of them are shown. */
const SAMPLE_ROWS = 50;
const SHOWN_ROWS = 4;

/** Raw rows under heads that say what each column means. */
export function ColumnMapping({ entry }: { readonly entry: DatasetEntry }) {
  const [mapping, setMapping] = useState<Readonly<Record<string, string>>>(entry.mapping);
  const sample = useCall('datasets.sample', { id: entry.id, rows: SAMPLE_ROWS });
  const save = useCommand('datasets.map', ['datasets.list', 'datasets.inspect', 'datasets.preview']);
  const changed = JSON.stringify(mapping) !== JSON.stringify(entry.mapping);
  const missing = missingFields(mapping);
  const { messages } = mapping;
  const conversations =
    messages === undefined ? [] : (sample.data ?? []).flatMap((row) => row[messages] ?? []);
  return (
    <Card
      title="Columns"
      aside={
        <>
          {changed && (
            <Button small look="quiet" onClick={() => setMapping(entry.mapping)}>
              Reset
            </Button>
          )}
          {changed && (
            <Button
              small
              look="primary"
              disabled={missing !== undefined || save.isPending}
              onClick={() => save.mutate({ id: entry.id, mapping: { ...mapping } })}
            >
              Use this mapping
            </Button>
          )}
          {!changed && entry.recordFormat !== 'unknown' && (
            <span>choose in its head what a column means</span>
          )}
        </>
      }
      flush
    >
      {missing !== undefined && (
        <p className="data-missing warn-ink" role="status">
          {missing}
        </p>
      )}
      {save.error !== null && <ErrorNote what="The mapping was not saved" error={toErrorInfo(save.error)} />}
      <RoleMapping names={rolesToMap(mapping, conversations)} mapping={mapping} onChange={setMapping} />
      <Loaded query={sample} what="the first rows" lines={4}>
        {(rows) => (
          // A region that scrolls must be reachable by keyboard.
          // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
          <div className="table-scroll" tabIndex={0} role="region" aria-label="First rows">
            <table className="table data-sample" style={{ minWidth: entry.columns.length * 170 }}>
              <thead>
                <tr>
                  {entry.columns.map((column) => (
                    <th key={column} scope="col" className="text">
                      <span className="data-column">{column}</span>
                      <Select
                        small
                        label={`Meaning of column ${column}`}
                        value={fieldOf(mapping, column)}
                        choices={columnFields}
                        onChange={(field) => setMapping((old) => mapColumn(old, column, field))}
                      />
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {rows
                  .slice(0, SHOWN_ROWS)
                  .map(numbered)
                  .map(({ item: row, number }) => (
                    <tr key={number}>
                      {entry.columns.map((column) => (
                        <td
                          key={column}
                          className={fieldOf(mapping, column) === 'none' ? 'text muted' : 'text'}
                        >
                          <div className="data-cell">{cellText(row[column])}</div>
                        </td>
                      ))}
                    </tr>
                  ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
    </Card>
  );
}

/** An item with its place, where the place is all that tells items apart. */
function numbered<T>(item: T, at: number): { readonly item: T; readonly number: number } {
  return { item, number: at + 1 };
}

/** A raw value for reading: strings without their JSON quotes. */
function cellText(json: string | undefined): string {
  if (json === undefined) return '';
  if (!json.startsWith('"')) return json;
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'string' ? value : json;
  } catch {
    // Not JSON after all: a bare value that begins with a quotation mark.
    return json;
  }
}
