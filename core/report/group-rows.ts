/** The table of groups over seeds, one row a group: for reports and terminals. */
import { rateText } from '#core/contract/method-comparison.ts';
import { type Comparison, type Estimate, type Measure, referenceGroup } from '#core/contract/run.ts';
import { duration, short, significant, withInterval } from './format.ts';

/** The one of forgetting is there where it was measured. */
const allColumns: readonly (readonly [Measure, string, (value: number) => string])[] = [
  ['validationLoss', 'validation loss', (value) => significant(value)],
  ['forgetting', 'forgetting', (value) => significant(value, 3)],
  ['trainingLoss', 'training loss', (value) => significant(value)],
  ['tokens', 'tokens', short],
  ['seconds', 'time in steps', duration],
  ['peakRssMB', 'peak memory, MB', (value) => significant(value)],
  ['trainableParameters', 'trained', short],
  ['checkpointBytes', 'checkpoint, MB', (value) => significant(value / 1e6)],
  ['activeExperts', 'active experts a token', (value) => significant(value, 3)],
];

/**
 * Head and rows, or nothing where no setting was repeated and no learning rates were tried; a mark ≠ behind a title: not
 * comparable between the runs.
 */
export function groupRows({ groups, rateChoice, notComparable }: Comparison): string[][] {
  if (rateChoice.length === 0 && groups.every(({ runs }) => runs.length < 2)) return [];
  const rates = new Set(groups.map(({ learningRate }) => learningRate)).size > 1;
  const reference = referenceGroup(groups);
  const against = `against “${reference?.label ?? ''}”${reference && rates ? ` at ${rateText(reference.learningRate)}` : ''}`;
  const paired = groups.some(({ difference }) => difference !== undefined);
  const columns = allColumns.filter(
    ([measure]) => measure !== 'forgetting' || groups.some(({ measures }) => measures.forgetting),
  );
  const head = columns.map(([measure, title]) => (notComparable.includes(measure) ? `${title} ≠` : title));
  return [
    [
      'setting',
      ...(rates ? ['learning rate'] : []),
      'seeds',
      ...head,
      ...(paired ? [`${against}, paired by seed`] : []),
    ],
    ...groups.map(({ label, learningRate, bestRate, seeds, measures, difference }) => [
      label,
      ...(rates ? [`${rateText(learningRate)}${bestRate === true ? ' (best)' : ''}`] : []),
      seeds.join(', '),
      ...columns.map(([measure, , format]) => {
        const estimate = measures[measure];
        return estimate === undefined ? '–' : withInterval(estimate, format);
      }),
      ...(paired ? [difference === undefined ? '–' : signed(difference)] : []),
    ]),
  ];
}

function signed(difference: Estimate): string {
  const text = withInterval(difference, (value) => significant(value, 3));
  return difference.mean > 0 ? `+${text}` : text;
}
