/** Runs that differ in nothing but their seed, taken together. */
import type { Comparison, Measure } from '#core/contract/run.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { estimateOf } from './confidence.ts';
import type { RunData } from './run-data.ts';

type Compared = Comparison['runs'][number];
type Group = Comparison['groups'][number];

const measures: Readonly<Record<Measure, (run: Compared) => number | undefined>> = {
  validationLoss: (run) => run.finalValidationLoss,
  trainingLoss: (run) => run.finalLoss,
  tokens: (run) => run.tokens,
  seconds: (run) => run.seconds,
  tokensPerSecond: (run) => run.tokensPerSecond,
  peakRssMB: (run) => run.peakRssMB,
  trainableParameters: (run) => run.trainableParameters,
  checkpointBytes: (run) => run.checkpointBytes,
  activeExperts: (run) => run.activeExperts,
};

/** Everything of a specification that must be equal for two runs to be repetitions of each other. */
export function settingOf(spec: RunSpec): string {
  return JSON.stringify({ ...spec, name: undefined, train: { ...spec.train, seed: undefined } });
}

/**
 * Groups in the order of their first run. Only completed runs are measured; of several with the same seed the last one,
 * since they repeat each other exactly and would feign certainty.
 */
export function seedGroups(runs: readonly RunData[], compared: readonly Compared[]): Group[] {
  const bySetting = new Map<string, { readonly run: RunData; readonly compared: Compared }[]>();
  runs.forEach((run, i) => {
    const one = compared[i];
    if (one === undefined) return;
    const setting = settingOf(run.spec);
    bySetting.set(setting, [...(bySetting.get(setting) ?? []), { run, compared: one }]);
  });
  let first: ReadonlyMap<number, Compared> | undefined;
  return [...bySetting.values()].map((members) => {
    const bySeed = new Map(
      members
        .filter(({ run }) => run.summary.state === 'completed')
        .map((member) => [member.run.spec.train.seed, member.compared]),
    );
    const difference = first && pairedDifference(first, bySeed);
    first ??= bySeed;
    return {
      label: labelOf(members.map(({ run }) => run.summary)),
      method: members[0]?.run.summary.method ?? '',
      runs: members.map(({ run }) => run.summary.id),
      seeds: [...bySeed.keys()],
      measures: measured([...bySeed.values()]),
      ...(difference && { difference }),
    };
  });
}

function measured(runs: readonly Compared[]): Group['measures'] {
  const entries = Object.entries(measures).flatMap(([name, of]) => {
    const estimate = estimateOf(runs.flatMap((run) => of(run) ?? []));
    return estimate === undefined ? [] : [[name, estimate] as const];
  });
  return Object.fromEntries(entries);
}

/** Validation loss minus that of the first group at the same seed: what seed and order of the data do to both cancels. */
function pairedDifference(
  first: ReadonlyMap<number, Compared>,
  own: ReadonlyMap<number, Compared>,
): Group['difference'] {
  return estimateOf(
    [...own].flatMap(([seed, run]) => {
      const other = first.get(seed)?.finalValidationLoss;
      return other === undefined || run.finalValidationLoss === undefined
        ? []
        : [run.finalValidationLoss - other];
    }),
  );
}

/** The name that all members share before their seed, else the method. */
function labelOf(members: readonly RunData['summary'][]): string {
  const names = new Set(members.map(({ name }) => name.replace(/\W*\bseed \d+$/, '')));
  const [name] = names;
  return names.size === 1 && name !== undefined && name !== '' ? name : (members[0]?.method ?? '');
}
