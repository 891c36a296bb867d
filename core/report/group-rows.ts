/** The table of groups over seeds, one row a group: for reports and terminals. */
import type { Comparison, Estimate, Measure } from '#core/contract/run.ts';
import { duration, short, significant } from './format.ts';

const columns: readonly (readonly [Measure, string, (value: number) => string])[] = [
  ['validationLoss', 'validation loss', (value) => significant(value)],
  ['trainingLoss', 'training loss', (value) => significant(value)],
  ['tokens', 'tokens', short],
  ['seconds', 'time in steps', duration],
  ['peakRssMB', 'peak memory, MB', (value) => significant(value)],
  ['trainableParameters', 'trained', short],
  ['checkpointBytes', 'checkpoint, MB', (value) => significant(value / 1e6)],
  ['activeExperts', 'active experts a token', (value) => significant(value, 3)],
];

/** Head and rows; a mark ≠ behind a title: not comparable between the runs. */
export function groupRows({ groups, notComparable }: Comparison): string[][] {
  const first = groups[0]?.label ?? '';
  const paired = groups.some(({ difference }) => difference !== undefined);
  const head = columns.map(([measure, title]) => (notComparable.includes(measure) ? `${title} ≠` : title));
  return [
    ['setting', 'seeds', ...head, ...(paired ? [`against “${first}”, paired by seed`] : [])],
    ...groups.map(({ label, seeds, measures, difference }) => [
      label,
      seeds.join(', '),
      ...columns.map(([measure, , format]) => withInterval(measures[measure], format)),
      ...(paired ? [difference === undefined ? '–' : signed(difference)] : []),
    ]),
  ];
}

/** `mean ± half`; an interval of no width says nothing. */
function withInterval(estimate: Estimate | undefined, format: (value: number) => string): string {
  if (estimate === undefined) return '–';
  const { mean, half } = estimate;
  return half === undefined || half === 0 ? format(mean) : `${format(mean)} ± ${format(half)}`;
}

function signed(difference: Estimate): string {
  const text = withInterval(difference, (value) => significant(value, 3));
  return difference.mean > 0 ? `+${text}` : text;
}
