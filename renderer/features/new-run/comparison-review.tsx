import type { ComparisonPlan } from '#core/contract/host-api.ts';
import { type Column, DataTable } from '../../ui/data-table.tsx';
import { formatDuration, formatLarge, formatMB, formatRange, plural } from '../../ui/format.ts';
import { PastError, Problems } from './review-card.tsx';

type Method = ComparisonPlan['methods'][number];

const memory = ({ memoryMB }: { memoryMB: { low: number; high: number } }) =>
  formatRange(memoryMB.low, memoryMB.high, formatMB);
const time = ({ timeSeconds }: Pick<ComparisonPlan, 'timeSeconds'>) =>
  timeSeconds === undefined
    ? 'not estimated'
    : formatRange(timeSeconds.low, timeSeconds.high, formatDuration);

const columns: readonly Column<Method>[] = [
  { key: 'label', title: 'Method', text: true, value: ({ label }) => label },
  { key: 'runs', title: 'Runs', value: ({ runs }) => runs },
  {
    key: 'trained',
    title: 'Trained',
    value: ({ plan }) => plan.trainableParameters,
    cell: ({ plan }) => formatLarge(plan.trainableParameters),
  },
  {
    key: 'memory',
    title: 'Memory',
    value: ({ plan }) => plan.memoryMB.high,
    cell: ({ plan }) => memory(plan),
  },
  {
    key: 'time',
    title: 'Time of a run',
    value: ({ plan }) => plan.timeSeconds?.high,
    cell: ({ plan }) => time({ timeSeconds: plan.timeSeconds }),
  },
];

/** What all runs of a comparison will need together, and each method by itself. */
export function ComparisonReview({ plan }: { readonly plan: ComparisonPlan }) {
  const { memoryMB, diskMB, runs, methods, problems, pastErrors } = plan;
  return (
    <div className="stack">
      <Problems of="comparison" problems={problems} />
      <dl className="plan-numbers num">
        <div>
          <dt>Runs</dt>
          <dd>{plural(runs, 'run')}</dd>
          <dd className="muted">one after another, all methods of a seed before the next seed</dd>
        </div>
        <div>
          <dt>Time in all</dt>
          <dd>{time(plan)}</dd>
          <dd className="muted">of optimizer steps</dd>
          <PastError error={pastErrors?.time} />
        </div>
        <div>
          <dt>Memory at most</dt>
          <dd>{memory(plan)}</dd>
          <dd className="muted">of {formatMB(memoryMB.availableMB)} available</dd>
          <PastError error={pastErrors?.memory} />
        </div>
        <div>
          <dt>Disk in all</dt>
          <dd>{formatMB(diskMB.total)}</dd>
          <dd className="muted">of checkpoints, {formatMB(diskMB.freeMB)} free</dd>
        </div>
      </dl>
      <p className="muted">
        Base model, data and their order, token budget, held-out rows and evaluation are the same for every
        method and learning rate.
      </p>
      <DataTable
        caption="What each method needs"
        columns={columns}
        rows={methods}
        rowKey={({ label }) => label}
      />
    </div>
  );
}
