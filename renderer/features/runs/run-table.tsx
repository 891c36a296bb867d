import { Link } from 'wouter';
import type { RunSummary } from '#core/contract/run.ts';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatAgo, formatCount, formatNumber } from '../../ui/format.ts';
import { RunStateChip } from '../../ui/run-state-chip.tsx';
import './run-table.css';

function Progress({ run }: { readonly run: RunSummary }) {
  const done = Math.max(0, run.lastStep);
  if (run.totalSteps === undefined)
    return <span className="muted">{done > 0 ? formatCount(done) : 'not started'}</span>;
  return (
    <span className="run-progress" title={`${formatCount(done)} of ${formatCount(run.totalSteps)} steps`}>
      <i>
        <b style={{ width: `${Math.min(100, (100 * done) / Math.max(1, run.totalSteps))}%` }} />
      </i>
      {formatCount(done)} / {formatCount(run.totalSteps)}
    </span>
  );
}

/** A name on one line. */
function Short({ text }: { readonly text: string }) {
  return (
    <div className="run-short ellipsis" title={text}>
      {text}
    </div>
  );
}

const columns = (nowMs: number): readonly Column<RunSummary>[] => [
  {
    key: 'name',
    title: 'Run',
    text: true,
    value: (run) => run.name,
    cell: (run) => (
      <Link href={`/runs/${run.id}`} className="row-name" title={run.name}>
        {run.name}
      </Link>
    ),
  },
  {
    key: 'state',
    title: 'State',
    text: true,
    value: (run) => run.state,
    cell: (run) => (
      <span title={run.reason}>
        <RunStateChip state={run.state} />
      </span>
    ),
  },
  {
    key: 'method',
    title: 'Method',
    text: true,
    value: (run) => run.method,
    cell: (run) => <Short text={run.method} />,
  },
  {
    key: 'model',
    title: 'Model',
    text: true,
    value: (run) => run.modelName,
    cell: (run) => <Short text={run.modelName} />,
  },
  { key: 'steps', title: 'Steps', value: (run) => run.lastStep, cell: (run) => <Progress run={run} /> },
  {
    key: 'loss',
    title: 'Loss',
    value: (run) => run.lastLoss,
    cell: (run) => (run.lastLoss === undefined ? undefined : formatNumber(run.lastLoss)),
  },
  {
    key: 'created',
    title: 'Created',
    value: (run) => run.createdMs,
    cell: (run) => formatAgo(run.createdMs, nowMs),
  },
];

/** Runs as a table; with `onSelect`, boxes to pick some of them. */
export function RunTable({
  runs,
  brief,
  selected,
  onSelect,
}: {
  readonly runs: readonly RunSummary[];
  /** Without model and method: for narrow places. */
  readonly brief?: boolean;
  readonly selected?: ReadonlySet<string>;
  readonly onSelect?: (id: string, on: boolean) => void;
}) {
  const pick = (run: RunSummary) => (
    <input
      type="checkbox"
      aria-label={`Select ${run.name}`}
      checked={selected?.has(run.id) ?? false}
      onChange={(event) => onSelect?.(run.id, event.target.checked)}
    />
  );
  const all = columns(Date.now()).filter(({ key }) => !brief || (key !== 'model' && key !== 'method'));
  return (
    <DataTable
      caption="Runs"
      columns={all}
      {...(onSelect !== undefined && { pick })}
      rows={runs}
      rowKey={(run) => run.id}
      sort={{ key: 'created', descending: true }}
    />
  );
}
