import { useState } from 'react';
import { CopyButton } from '../ui/copy-button.tsx';
import { type Column, DataTable, tableText } from '../ui/data-table.tsx';
import { Select } from '../ui/select.tsx';

/** The table twin of a heat map: the experts of one layer at a time, all layers as a copy. */
export function LayerTable<R extends { readonly expert: number }>({
  layers,
  layerNames,
  columns,
  rowsOf,
  sort,
}: {
  readonly layers: number;
  /** Decoder layer index of each row. */
  readonly layerNames: readonly number[];
  readonly columns: readonly Column<R>[];
  readonly rowsOf: (row: number) => readonly R[];
  readonly sort: { readonly key: string; readonly descending: boolean };
}) {
  const [row, setRow] = useState(0);
  const nameOf = (index: number) => layerNames[index] ?? index;
  const all = () =>
    Array.from({ length: layers }, (_, index) =>
      rowsOf(index).map((entry) => ({ entry, layer: nameOf(index) })),
    ).flat();
  const withLayer = (): readonly Column<{ readonly entry: R; readonly layer: number }>[] => [
    { key: 'layer', title: 'layer', value: ({ layer }) => layer },
    ...columns.map(({ key, title, value }) => ({
      key,
      title,
      value: ({ entry }: { readonly entry: R }) => value(entry),
    })),
  ];
  return (
    <div className="stack tight">
      <div className="row wrap">
        <Select
          small
          label="Layer"
          value={String(row)}
          choices={Array.from({ length: layers }, (_, index) => ({
            value: String(index),
            label: `layer ${nameOf(index)}`,
          }))}
          onChange={(value) => setRow(Number(value))}
        />
        <CopyButton label="Copy all layers as CSV" text={() => tableText(withLayer(), all(), 'csv')} />
      </div>
      <DataTable
        caption={`Experts of layer ${nameOf(row)}`}
        columns={columns}
        rows={rowsOf(row)}
        rowKey={(entry) => String(entry.expert)}
        sort={sort}
        maxHeight={300}
      />
    </div>
  );
}
