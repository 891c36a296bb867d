import { useState } from 'react';
import { Link } from 'wouter';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import { toErrorInfo } from '#core/contract/errors.ts';
import { useCall, useCommand } from '../../api/use-host.ts';
import { Button } from '../../ui/button.tsx';
import { Card, PageHead } from '../../ui/card.tsx';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatAgo, formatBytes, formatCount } from '../../ui/format.ts';
import { EmptyState, ErrorNote, Loaded } from '../../ui/states.tsx';
import { ImportControls, useImport } from '../drop/index.ts';
import { DatasetView } from './dataset-view.tsx';
import { formatNames } from './mapping-fields.ts';
import './data.css';

const columns = (nowMs: number): readonly Column<DatasetEntry>[] => [
  {
    key: 'name',
    title: 'Data set',
    text: true,
    value: (set) => set.name,
    cell: (set) => (
      <Link href={`/data/${set.id}`} className="row-name" title={set.name}>
        {set.name}
      </Link>
    ),
  },
  {
    key: 'format',
    title: 'Format',
    text: true,
    value: (set) => set.recordFormat,
    cell: (set) => (
      <span className={set.recordFormat === 'unknown' ? 'chip warn' : 'chip'}>
        {formatNames[set.recordFormat]}
      </span>
    ),
  },
  { key: 'file', title: 'File', text: true, value: (set) => set.fileFormat.toUpperCase() },
  { key: 'rows', title: 'Rows', value: (set) => set.rows, cell: (set) => formatCount(set.rows) },
  { key: 'bytes', title: 'Size', value: (set) => set.bytes, cell: (set) => formatBytes(set.bytes) },
  { key: 'added', title: 'Added', value: (set) => set.addedMs, cell: (set) => formatAgo(set.addedMs, nowMs) },
];

function DataList() {
  const datasets = useCall('datasets.list', undefined);
  const importing = useImport();
  const prepare = useCommand('sample.prepare', ['models.list', 'datasets.list']);
  const [failed, setFailed] = useState<unknown>();
  const error = importing.error ?? failed;
  return (
    <>
      <PageHead title="Data" />
      <Card
        title="Import a data set"
        aside={<span>or drop a file anywhere: JSONL, JSON, CSV, TSV, Parquet</span>}
      >
        <ImportControls
          kind="data"
          busy={importing.isPending}
          onPick={(picked) => {
            setFailed(undefined);
            importing.mutate(picked);
          }}
          onError={setFailed}
        />
        {error !== undefined && error !== null && (
          <ErrorNote what="The file was not imported" error={toErrorInfo(error)} />
        )}
      </Card>
      <Loaded query={datasets} what="the data sets" lines={5}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState text="No data yet. Import a file to see its rows as the model will read them.">
              <Button
                disabled={prepare.isPending}
                onClick={() => prepare.mutate(undefined, { onError: setFailed })}
              >
                Add the sample data
              </Button>
            </EmptyState>
          ) : (
            <Card title="Data sets" flush>
              <DataTable
                caption="Imported data sets"
                columns={columns(Date.now())}
                rows={list}
                rowKey={(set) => set.id}
                sort={{ key: 'added', descending: true }}
              />
            </Card>
          )
        }
      </Loaded>
    </>
  );
}

/** The list of data sets, or one of them. */
export function DataPage({ id }: { readonly id?: string }) {
  const datasets = useCall('datasets.list', undefined, { enabled: id !== undefined });
  if (id === undefined) return <DataList />;
  const entry = datasets.data?.find((set) => set.id === id);
  if (entry !== undefined) return <DatasetView key={entry.id} entry={entry} />;
  return (
    <>
      <PageHead title="Data set" />
      <Loaded query={datasets} what="the data set" lines={6}>
        {() => (
          <EmptyState text="This data set is not in the list any more.">
            <Link href="/data" className="button">
              All data sets
            </Link>
          </EmptyState>
        )}
      </Loaded>
    </>
  );
}
