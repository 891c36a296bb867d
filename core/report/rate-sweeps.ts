/** Groups that differ in nothing but their learning rate, and the one at which their method is compared. */
import { rateText } from '#core/contract/method-comparison.ts';
import type { Comparison } from '#core/contract/run.ts';
import { listed, significant, withInterval } from './format.ts';
import { pairedDifference, type SeedGroup, settingOf } from './seed-groups.ts';

/** One method with its options, at one or more learning rates. */
interface Sweep {
  readonly label: string;
  readonly rates: readonly SeedGroup[];
  /** Where several rates were tried, the one with the lowest mean validation loss of those with every seed. */
  readonly chosen: SeedGroup | undefined;
}

/**
 * The groups of a comparison: of those that differ only in learning rate the best is marked, and differences are taken from
 * the first one that stands for its method.
 */
export function compareGroups(groups: readonly SeedGroup[]): Pick<Comparison, 'groups' | 'rateChoice'> {
  const sweeps = sweepsOf(groups);
  const chosen = new Set(sweeps.map((sweep) => sweep.chosen));
  const swept = new Set(sweeps.flatMap(({ rates }) => (rates.length > 1 ? rates : [])));
  const reference = groups.find((one) => chosen.has(one));
  return {
    groups: groups.map((one) => {
      const difference = reference && one !== reference ? pairedDifference(one, reference) : undefined;
      return {
        ...one.group,
        ...(swept.has(one) && { bestRate: chosen.has(one) }),
        ...(difference && { difference }),
      };
    }),
    rateChoice: choiceInWords(sweeps, reference),
  };
}

function sweepsOf(groups: readonly SeedGroup[]): Sweep[] {
  const byMethod = Map.groupBy(groups, ({ spec }) =>
    settingOf({ ...spec, train: { ...spec.train, learningRate: 1 } }),
  );
  return [...byMethod.values()].map((rates) => {
    const names = [...new Set(rates.map(({ group }) => group.label))];
    return {
      label: (names.length === 1 ? names[0] : rates[0]?.group.method) ?? '',
      rates,
      chosen: rates.length === 1 ? rates[0] : lowest(complete(rates)),
    };
  });
}

/** Those with a validation loss at every seed that any of them has: means over other seeds are means of other things. */
function complete(rates: readonly SeedGroup[]): SeedGroup[] {
  const seeds = new Set(rates.flatMap((rate) => [...rate.seeds]));
  return rates.filter(({ group }) => group.measures.validationLoss?.runs === seeds.size);
}

function lowest(rates: readonly SeedGroup[]): SeedGroup | undefined {
  const loss = ({ group }: SeedGroup) => group.measures.validationLoss?.mean ?? Infinity;
  return rates.toSorted((a, b) => loss(a) - loss(b))[0];
}

/** Which rate stands for each method, how methods compare at these, and why that is to be read with care. */
function choiceInWords(sweeps: readonly Sweep[], reference: SeedGroup | undefined): string[] {
  const swept = sweeps.filter(({ rates }) => rates.length > 1);
  if (swept.length === 0) return [];
  const sentences = swept.map(choiceOf);
  if (reference === undefined || swept.every(({ chosen }) => chosen === undefined)) return sentences;
  const tried = new Set(sweeps.map(({ rates }) => rates.length));
  const unequal =
    tried.size > 1
      ? `, the more so the more rates a method had (${listed(sweeps.map(({ label, rates }) => `“${label}” ${rates.length}`))})`
      : '';
  return [
    ...sentences,
    ...differencesAt(sweeps, reference),
    'The rates were chosen by the losses on the same validation rows that the methods are compared on: the losses of chosen rates ' +
      `are on the low side${unequal}. Rows that took no part in the choice would settle it.`,
  ];
}

/** Each method at its rate against the reference. */
function differencesAt(sweeps: readonly Sweep[], reference: SeedGroup): string[] {
  const first = sweeps.find(({ chosen }) => chosen === reference)?.label ?? '';
  return sweeps.flatMap(({ label, chosen }) => {
    const difference = chosen && chosen !== reference ? pairedDifference(chosen, reference) : undefined;
    if (difference === undefined) return [];
    const { mean, half = 0 } = difference;
    const size = withInterval({ ...difference, mean: Math.abs(mean) }, (value) => significant(value, 3));
    const unsure = half > Math.abs(mean) ? ' The interval includes no difference at all.' : '';
    return (
      `At these rates the validation loss of “${label}” is ${size} ${mean < 0 ? 'lower' : 'higher'} ` +
      `than that of “${first}”, seed by seed.${unsure}`
    );
  });
}

function choiceOf({ label, rates, chosen }: Sweep): string {
  const ratesOf = (some: readonly SeedGroup[]) =>
    some.map(({ group }) => group.learningRate).toSorted((a, b) => a - b);
  const all = ratesOf(rates);
  if (chosen === undefined) {
    return `No learning rate stands for “${label}”: none of ${listed(all.map(rateText))} has a validation loss at every seed.`;
  }
  const { learningRate, measures } = chosen.group;
  const considered = complete(rates);
  const left = ratesOf(rates.filter((rate) => !considered.includes(rate)));
  const end = learningRate === all.at(-1) ? 'highest' : learningRate === all[0] ? 'lowest' : undefined;
  return [
    `“${label}” is compared at learning rate ${rateText(learningRate)}, ` +
      `which has the lowest mean validation loss of ${listed(ratesOf(considered).map(rateText))}` +
      `${measures.validationLoss ? ` (${withInterval(measures.validationLoss, significant)})` : ''}.`,
    ...(left.length > 0
      ? [
          `${listed(left.map(rateText))} ${left.length === 1 ? 'does' : 'do'} not count: no validation loss at every seed.`,
        ]
      : []),
    ...(end === undefined ? [] : [`It is the ${end} rate tried; a better one may lie beyond.`]),
  ].join(' ');
}
