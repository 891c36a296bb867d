/** Runs that differ in nothing but their seed, taken together. */
import type { Comparison, Measure } from '#core/contract/run.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { estimateOf } from './metrics/confidence.ts';
import type { RunData } from './run-data.ts';

type Compared = Comparison['runs'][number];
type Group = Comparison['groups'][number];

const measures: Readonly<Record<Measure, (run: Compared) => number | undefined>> = {
  validationLoss: (run) => run.finalValidationLoss,
  forgetting: (run) => run.forgetting,
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

/** Runs that differ in nothing but their seed. */
export interface SeedGroup {
  readonly group: Group;
  readonly spec: RunSpec;
  /** Of all its runs, completed or not. */
  readonly seeds: ReadonlySet<number>;
  /** The completed run of each seed. */
  readonly bySeed: ReadonlyMap<number, Compared>;
}

/**
 * Groups in the order of their first run. Only completed runs are measured; of several with the same seed the last one,
 * since they repeat each other exactly and would feign certainty.
 */
export function seedGroups(runs: readonly RunData[], compared: readonly Compared[]): SeedGroup[] {
  const bySetting = Map.groupBy(runs, ({ spec }) => settingOf(spec));
  const comparedOf = new Map(runs.map((run, i) => [run, compared[i]]));
  return [...bySetting.values()].flatMap((members) => {
    const [first] = members;
    if (first === undefined) return [];
    const bySeed = new Map(
      members.flatMap((run) => {
        const one = comparedOf.get(run);
        return one?.state === 'completed' ? [[run.spec.train.seed, one] as const] : [];
      }),
    );
    return {
      group: {
        label: labelOf(members.map(({ summary }) => summary)),
        method: first.summary.method,
        learningRate: first.spec.train.learningRate,
        runs: members.map(({ summary }) => summary.id),
        seeds: [...bySeed.keys()],
        measures: measured([...bySeed.values()]),
      },
      spec: first.spec,
      seeds: new Set(members.map(({ spec }) => spec.train.seed)),
      bySeed,
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

/** Validation loss of `own` minus that of `reference` at the same seed: what seed and order of the data do to both cancels. */
export function pairedDifference(own: SeedGroup, reference: SeedGroup): Group['difference'] {
  return estimateOf(
    [...own.bySeed].flatMap(([seed, run]) => {
      const other = reference.bySeed.get(seed)?.finalValidationLoss;
      return other === undefined || run.finalValidationLoss === undefined
        ? []
        : [run.finalValidationLoss - other];
    }),
  );
}

/** The name that all members share before their learning rate and seed, else the method. */
function labelOf(members: readonly RunData['summary'][]): string {
  const names = new Set(
    members.map(({ name }) => name.replace(/\W*\bseed \d+$/, '').replace(/\W*\brate [\d.]+e[+-]\d+$/, '')),
  );
  const [name] = names;
  return names.size === 1 && name !== undefined && name !== '' ? name : (members[0]?.method ?? '');
}
