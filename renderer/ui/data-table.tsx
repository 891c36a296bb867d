/** A table whose columns can be sorted and copied. */
import { type ReactNode, useState } from 'react';

/** One column. */
export interface Column<R> {
  readonly key: string;
  readonly title: string;
  /** Words are left-aligned, numbers right. */
  readonly text?: boolean;
  /** What is sorted and copied; undefined sorts last and copies as nothing. */
  readonly value: (row: R) => string | number | undefined;
  /** What is copied where that is not the value: an interval, a mark. */
  readonly copied?: (row: R) => string | undefined;
  /** What is shown; the value itself when left out. */
  readonly cell?: (row: R) => ReactNode;
}

/** Rows in the order of `key`; absent values last either way. */
export function sortRows<R>(
  rows: readonly R[],
  column: Column<R> | undefined,
  descending: boolean,
): readonly R[] {
  if (column === undefined) return rows;
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (x === undefined || y === undefined) return x === y ? 0 : x === undefined ? 1 : -1;
    if (typeof x === 'number' && typeof y === 'number') return sign * (x - y);
    return sign * String(x).localeCompare(String(y), 'en', { numeric: true });
  });
}

/** The table as text for a spreadsheet (CSV, RFC 4180) or a document (Markdown). */
export function tableText<R>(
  columns: readonly Column<R>[],
  rows: readonly R[],
  format: 'csv' | 'markdown',
): string {
  const cells = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => String(column.copied?.(row) ?? column.value(row) ?? ''))),
  ];
  if (format === 'csv') {
    const quoted = (cell: string) => (/[",\n\r]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
    return `${cells.map((row) => row.map(quoted).join(',')).join('\n')}\n`;
  }
  const line = (row: readonly string[]) =>
    `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = columns.map((column) => (column.text ? '---' : '---:'));
  return `${[cells[0] ?? [], rule, ...cells.slice(1)].map(line).join('\n')}\n`;
}

/** The table; the first column heads each row, after a box to pick it where there is one. */
export function DataTable<R>({
  caption,
  columns,
  rows,
  rowKey,
  pick,
  sort,
  maxHeight,
}: {
  /** Spoken name of the table. */
  readonly caption: string;
  readonly columns: readonly Column<R>[];
  readonly rows: readonly R[];
  readonly rowKey: (row: R) => string;
  /** The box that picks a row. */
  readonly pick?: (row: R) => ReactNode;
  /** Column sorted at first; without it rows keep their order. */
  readonly sort?: { readonly key: string; readonly descending: boolean };
  readonly maxHeight?: number;
}) {
  const [order, setOrder] = useState(sort);
  const column = columns.find((candidate) => candidate.key === order?.key);
  const sorted = sortRows(rows, column, order?.descending ?? false);
  const press = (key: string) =>
    setOrder((old) => (old?.key === key ? { key, descending: !old.descending } : { key, descending: true }));
  return (
    // A region that scrolls must be reachable by keyboard.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <div className="table-scroll" style={{ maxHeight }} tabIndex={0} role="region" aria-label={caption}>
      <table className="table">
        <thead>
          <tr>
            {pick !== undefined && (
              <th scope="col">
                <span className="visually-hidden">Select</span>
              </th>
            )}
            {columns.map((head) => {
              const on = head.key === order?.key;
              return (
                <th
                  key={head.key}
                  scope="col"
                  className={head.text ? 'text' : undefined}
                  aria-sort={on ? (order.descending ? 'descending' : 'ascending') : undefined}
                >
                  <button type="button" className="sort" onClick={() => press(head.key)}>
                    {head.title}
                    {on && <span aria-hidden="true">{order.descending ? '\u00a0↓' : '\u00a0↑'}</span>}
                  </button>
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <tr key={rowKey(row)} className="pick">
              {pick !== undefined && <td className="pick-box">{pick(row)}</td>}
              {columns.map((entry, index) => {
                const content = entry.cell === undefined ? entry.value(row) : entry.cell(row);
                const className = entry.text ? 'text' : undefined;
                return index === 0 ? (
                  <th key={entry.key} scope="row" className={className}>
                    {content}
                  </th>
                ) : (
                  <td key={entry.key} className={className}>
                    {content ?? <span className="muted">–</span>}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
