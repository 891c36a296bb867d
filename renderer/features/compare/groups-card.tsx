import { rateText } from '#core/contract/method-comparison.ts';
import { type Comparison, type Estimate, type Measure, referenceGroup } from '#core/contract/run.ts';
import { Card } from '../../ui/card.tsx';
import { CopyButton } from '../../ui/copy-button.tsx';
import { type Column, DataTable, tableText } from '../../ui/data-table.tsx';
import { formatBytes, formatDuration, formatLarge, formatMB, formatNumber } from '../../ui/format.ts';
import { NOT_COMPARABLE } from './metrics-card.tsx';

type Group = Comparison['groups'][number];

const measures: readonly (readonly [Measure, string, (value: number) => string])[] = [
  ['validationLoss', 'Validation loss', formatNumber],
  ['forgetting', 'Forgetting', (value) => formatNumber(value, 3)],
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

/** A column of estimates, copied with their intervals. */
function estimated(
  key: string,
  title: string,
  of: (group: Group) => Estimate | undefined,
  shown: (estimate: Estimate) => string,
): Column<Group> {
  const text = (group: Group) => {
    const estimate = of(group);
    return estimate && shown(estimate);
  };
  return { key, title, value: (group) => of(group)?.mean, cell: text, copied: text };
}

function columnsOf(groups: readonly Group[], notComparable: readonly Measure[]): readonly Column<Group>[] {
  const paired = groups.some(({ difference }) => difference !== undefined);
  const rates = new Set(groups.map(({ learningRate }) => learningRate)).size > 1;
  const reference = referenceGroup(groups);
  const at = reference && rates ? ` at ${rateText(reference.learningRate)}` : '';
  const difference = estimated(
    'difference',
    `Loss against “${reference?.label ?? ''}”${at}`,
    (group) => group.difference,
    (estimate) => `${estimate.mean > 0 ? '+' : ''}${interval(estimate, (value) => formatNumber(value, 3))}`,
  );
  const rate: Column<Group> = {
    key: 'learningRate',
    title: 'Learning rate',
    value: (group) => group.learningRate,
    copied: ({ learningRate, bestRate }) => `${rateText(learningRate)}${bestRate === true ? ' (best)' : ''}`,
    cell: ({ learningRate, bestRate }) => (
      <>
        {bestRate === true && <span className="chip accent">best</span>} {rateText(learningRate)}
      </>
    ),
  };
  return [
    { key: 'label', title: 'Setting', text: true, value: (group) => group.label },
    ...(rates ? [rate] : []),
    { key: 'seeds', title: 'Seeds', value: (group) => group.seeds.length },
    ...measures.flatMap(([measure, title, format]): readonly Column<Group>[] => {
      if (measure === 'forgetting' && groups.every((group) => !group.measures.forgetting)) return [];
      const column = estimated(
        measure,
        notComparable.includes(measure) ? `${title} ${NOT_COMPARABLE}` : title,
        (group) => group.measures[measure],
        (estimate) => interval(estimate, format),
      );
      return paired && measure === 'validationLoss' ? [column, difference] : [column];
    }),
  ];
}

/**
 * One row a setting: means over its seeds, each with its interval, and which learning rate stands for each method. Nothing
 * where no setting was repeated and no learning rates were tried.
 */
export function GroupsCard({
  groups,
  rateChoice,
  notComparable,
}: Pick<Comparison, 'groups' | 'rateChoice' | 'notComparable'>) {
  const swept = rateChoice.length > 0;
  if (!swept && groups.every(({ runs }) => runs.length < 2)) return null;
  const columns = columnsOf(groups, notComparable);
  return (
    <Card
      title={swept ? 'Result over learning rates and seeds' : 'Result over seeds'}
      className="compare-numbers"
      flush
      aside={
        <>
          <span>mean ± half of its 95 % interval; differences seed by seed</span>
          <CopyButton label="Copy as CSV" text={() => tableText(columns, groups, 'csv')} />
          <CopyButton label="Copy as Markdown" text={() => tableText(columns, groups, 'markdown')} />
        </>
      }
    >
      {swept && (
        <ul className="rate-choice">
          {rateChoice.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
      <DataTable
        caption="Result of each setting over its seeds"
        columns={columns}
        rows={groups}
        rowKey={(group) => group.runs.join(' ')}
        {...(!swept && { sort: { key: 'validationLoss', descending: false } })}
      />
    </Card>
  );
}
