import type { Comparison, Estimate, Measure } from '#core/contract/run.ts';
import { Card } from '../../ui/card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { type Column, DataTable, tableText } from '../../ui/data-table.tsx';
import { formatBytes, formatDuration, formatLarge, formatMB, formatNumber } from '../../ui/format.ts';
import { NOT_COMPARABLE } from './metrics-card.tsx';

type Group = Comparison['groups'][number];

const measures: readonly (readonly [Measure, string, (value: number) => string])[] = [
  ['validationLoss', 'Validation loss', formatNumber],
  ['trainingLoss', 'Training loss', formatNumber],
  ['tokens', 'Tokens', formatLarge],
  ['seconds', 'Time', formatDuration],
  ['peakRssMB', 'Peak memory', formatMB],
  ['trainableParameters', 'Trained', formatLarge],
  ['checkpointBytes', 'Checkpoint', formatBytes],
  ['activeExperts', 'Active experts', (value) => formatNumber(value, 3)],
];

/** `mean ± half`; an interval of no width says nothing. */
function interval({ mean, half }: Estimate, format: (value: number) => string): string {
  return half === undefined || half === 0 ? format(mean) : `${format(mean)} ± ${format(half)}`;
}

function columnsOf(groups: readonly Group[], notComparable: readonly Measure[]): readonly Column<Group>[] {
  const paired = groups.some(({ difference }) => difference !== undefined);
  const difference: Column<Group> = {
    key: 'difference',
    title: `Loss against “${groups[0]?.label ?? ''}”`,
    value: (group) => group.difference?.mean,
    cell: (group) =>
      group.difference &&
      `${group.difference.mean > 0 ? '+' : ''}${interval(group.difference, (value) => formatNumber(value, 3))}`,
  };
  return [
    { key: 'label', title: 'Setting', text: true, value: (group) => group.label },
    { key: 'seeds', title: 'Seeds', value: (group) => group.seeds.length },
    ...measures.flatMap(([measure, title, format]): readonly Column<Group>[] => {
      const column: Column<Group> = {
        key: measure,
        title: notComparable.includes(measure) ? `${title} ${NOT_COMPARABLE}` : title,
        value: (group) => group.measures[measure]?.mean,
        cell: (group) => {
          const estimate = group.measures[measure];
          return estimate && interval(estimate, format);
        },
      };
      return paired && measure === 'validationLoss' ? [column, difference] : [column];
    }),
  ];
}

/** Copies carry the intervals too. */
function asShown(columns: readonly Column<Group>[]): readonly Column<Group>[] {
  return columns.map((column) => ({
    ...column,
    value: (group) => {
      const shown = column.cell?.(group);
      return typeof shown === 'string' ? shown : column.value(group);
    },
  }));
}

/** One row a setting: means over its seeds, each with its interval; nothing where no setting was repeated. */
export function GroupsCard({ groups, notComparable }: Pick<Comparison, 'groups' | 'notComparable'>) {
  if (groups.every(({ runs }) => runs.length < 2)) return null;
  const columns = columnsOf(groups, notComparable);
  return (
    <Card
      title="Result over seeds"
      flush
      aside={
        <>
          <span>mean ± half of its 95 % interval; differences seed by seed</span>
          <CopyButton label="Copy as CSV" text={() => tableText(asShown(columns), groups, 'csv')} />
          <CopyButton label="Copy as Markdown" text={() => tableText(asShown(columns), groups, 'markdown')} />
        </>
      }
    >
      <DataTable
        caption="Result of each setting over its seeds"
        columns={columns}
        rows={groups}
        rowKey={(group) => group.runs.join(' ')}
        sort={{ key: 'validationLoss', descending: false }}
      />
    </Card>
  );
}
