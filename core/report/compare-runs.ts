/** Runs side by side, and why they may not be comparable. */
import { labelsOf } from '#core/contract/method-comparison.ts';
import { methodLabel, methodsIn } from '#core/contract/methods-together.ts';
import type { Comparison, Measure } from '#core/contract/run.ts';
import type { RunSpec } from '#core/contract/run-spec.ts';
import { listed, percent, short } from './format.ts';
import { drift_L, meanGini_L } from './metrics/load-windows.ts';
import { type RunData, totalsOf } from './run-data.ts';
import { compareGroups } from './rate-sweeps.ts';
import { seedGroups, settingOf } from './seed-groups.ts';

/** Metrics, differences of the specifications, and caveats of `runs`, in the order given. */
export function compareRuns(runs: readonly RunData[]): Comparison {
  const compared = runs.map(comparedRun);
  const found = caveats(runs);
  return {
    runs: compared,
    ...compareGroups(seedGroups(runs, compared)),
    notComparable: [...new Set(found.flatMap(({ measures }) => measures))].filter(
      (measure) => measure !== 'forgetting' || compared.some((run) => run.forgetting !== undefined),
    ),
    differences: specDifferences(runs.map((run) => run.spec)),
    caveats: found.map(({ sentence }) => sentence),
  };
}

function comparedRun(run: RunData): Comparison['runs'][number] {
  const { summary, facts, routing } = run;
  const totals = totalsOf(run);
  const checkpoint = run.checkpoints.at(-1);
  const activeExperts = activeExpertsOf(run);
  return {
    id: summary.id,
    name: summary.name,
    method: summary.method,
    state: summary.state,
    steps: totals.steps,
    ...(totals.finalLoss !== undefined && { finalLoss: totals.finalLoss }),
    ...(totals.finalValidation && { finalValidationLoss: totals.finalValidation.loss }),
    ...(totals.general && { forgetting: totals.general.final - totals.general.first }),
    tokens: totals.tokens,
    seconds: totals.seconds,
    ...(totals.tokensPerSecond !== undefined && { tokensPerSecond: totals.tokensPerSecond }),
    ...(totals.peakRssMB !== undefined && { peakRssMB: totals.peakRssMB }),
    ...(facts && { trainableParameters: facts.trainableParameters }),
    ...(checkpoint && { checkpointBytes: checkpoint.bytes }),
    ...(activeExperts !== undefined && { activeExperts }),
    gini_L: facts ? meanGini_L(routing, facts.moeLayers, facts.experts) : [],
    drift_L: facts ? drift_L(routing, facts.moeLayers, facts.experts) : [],
  };
}

/** Choices of each token and layer, counted, plus the experts that are always active; undefined where nothing was recorded. */
function activeExpertsOf({ facts, routing, series }: RunData): number | undefined {
  if (!facts || facts.moeLayers === 0) return undefined;
  const tokensOf = new Map(series.steps.map(({ step, tokens }) => [step, tokens]));
  const active = routing.flatMap(({ step, counts_LE, condensers = [] }) => {
    const tokens = tokensOf.get(step);
    if (tokens === undefined || tokens === 0) return [];
    const chosen = counts_LE.reduce((sum, count) => sum + count, 0) / tokens;
    return [(chosen + condensers.flat().length) / facts.moeLayers];
  });
  return active.length === 0 ? undefined : active.reduce((sum, value) => sum + value, 0) / active.length;
}

/** Fields whose values differ between `specs`, by dotted path; the name is no setting. Values as JSON, null where absent. */
function specDifferences(specs: readonly RunSpec[]): Comparison['differences'] {
  const flat = specs.map((spec) => flatten({ ...spec, method: legible(spec.method), name: undefined }));
  const fields = [...new Set(flat.flatMap((fields) => [...fields.keys()]))].sort((a, b) => (a < b ? -1 : 1));
  return fields
    .map((field) => ({ field, values: flat.map((values) => values.get(field) ?? null) }))
    .filter(({ values }) => new Set(values).size > 1);
}

/** Methods named together by what each is called, so that their options can be told apart. */
function legible(method: RunSpec['method']): RunSpec['method'] {
  const parts = methodsIn(method);
  if (parts.length === 1) return method;
  const labels = labelsOf(parts);
  return {
    name: methodLabel(method),
    options: Object.fromEntries(parts.map(({ options }, i) => [labels[i] ?? '', options] as const)),
  };
}

/** Leaves of an object by dotted path, as JSON; lists are leaves. */
function flatten(value: unknown, at = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return new Map<string, string>(value === undefined ? [] : [[at, JSON.stringify(value)]]);
  }
  return new Map(
    Object.entries(value).flatMap(([key, child]) => [...flatten(child, at === '' ? key : `${at}.${key}`)]),
  );
}

interface Caveat {
  readonly sentence: string;
  /** What it makes incomparable. */
  readonly measures: readonly Measure[];
}

const LOSSES: readonly Measure[] = ['validationLoss', 'forgetting', 'trainingLoss'];
const SPEEDS: readonly Measure[] = ['seconds', 'tokensPerSecond'];

/**
 * Least and most tokens of runs that should have had the same. Another seed takes other rows, and with them another
 * number of tokens: where settings share seeds, each seed is looked at by itself.
 */
function unequalBudgets(runs: readonly RunData[]): readonly [least: number, most: number] {
  const bySeed = Map.groupBy(runs, (run) => run.spec.train.seed);
  const shared = [...bySeed.values()].filter((same) => same.length > 1);
  const settings = new Set(runs.map((run) => settingOf(run.spec)));
  const sets = shared.length > 0 ? shared : settings.size > 1 ? [runs] : [];
  const ranges = sets.map((set) => {
    const tokens = set.map((run) => totalsOf(run).tokens);
    return [Math.min(...tokens), Math.max(...tokens)] as const;
  });
  return ranges.toSorted((a, b) => b[1] / b[0] - a[1] / a[0])[0] ?? [0, 0];
}

/** Why differences between the runs may come from something else than the method. */
function caveats(runs: readonly RunData[]): Caveat[] {
  if (runs.length < 2) return [];
  const differ = (of: (run: RunData) => unknown): boolean =>
    new Set(runs.map((run) => JSON.stringify(of(run) ?? null))).size > 1;
  const found: Caveat[] = [];
  const say = (condition: boolean, sentence: string, measures: readonly Measure[] = []) =>
    condition && found.push({ sentence, measures });

  say(
    differ((run) => run.facts?.hashes['model'] ?? run.spec.model.path),
    'The runs start from different base models.',
    LOSSES,
  );
  say(
    differ((run) => run.facts?.hashes['data'] ?? run.spec.data.train),
    'The runs read different training data.',
    LOSSES,
  );
  say(
    differ((run) => [run.spec.data.validation, run.facts?.validationRows]),
    'The validation rows differ, so the validation losses measure different things.',
    ['validationLoss'],
  );
  const withGeneral = runs.filter((run) => run.spec.data.general !== undefined);
  say(
    new Set(withGeneral.map((run) => run.facts?.hashes['general'])).size > 1,
    'The general data differ, and with them what forgetting is measured on.',
    ['forgetting'],
  );
  say(
    differ((run) => [run.spec.data.lossOn, run.spec.data.template, run.spec.data.maxLength]),
    'The loss counts different tokens (data.lossOn, data.template or data.maxLength differ).',
    LOSSES,
  );
  const [least, most] = unequalBudgets(runs);
  say(
    most > least * 1.01,
    `The token budgets differ: between ${short(least)} and ${short(most)} tokens` +
      `${least > 0 ? `, ${percent(most / least - 1)} more` : ''}.`,
    [...LOSSES, 'tokens', 'seconds'],
  );
  const unfinished = runs.filter((run) => run.summary.state !== 'completed');
  say(
    unfinished.length > 0,
    `Not completed: ${listed(unfinished.map((run) => `“${run.summary.name}” (${run.summary.state})`))}.`,
  );
  say(
    differ((run) => run.facts && [run.facts.provider, run.facts.threads]),
    'Speed and memory were measured with different execution providers or thread counts.',
    [...SPEEDS, 'peakRssMB'],
  );
  say(
    differ((run) => run.spec.engine.frozenExperts),
    'Frozen experts were held differently (engine.frozenExperts): speed and memory follow from it, and losses have a rounding in them.',
    [...SPEEDS, 'peakRssMB'],
  );
  say(
    differ((run) => run.facts?.halfParameters !== undefined),
    'Frozen weights lay on the graphics adapter in float16 in some of the runs (engine.deviceWeights): memory follows from it, and losses have a rounding in them.',
    [...SPEEDS, 'peakRssMB'],
  );
  say(
    differ((run) => run.facts?.hashes['code']),
    'The runs were made by different versions of the program.',
    [...SPEEDS, 'peakRssMB'],
  );
  const seeds = new Map<string, Set<number>>();
  for (const { spec } of runs) {
    const setting = settingOf(spec);
    seeds.set(setting, (seeds.get(setting) ?? new Set()).add(spec.train.seed));
  }
  say(
    differ((run) => run.spec.train.seed) && [...seeds.values()].every((set) => set.size === 1),
    'The runs differ in their seed besides their settings, and with it in the order of the data.',
  );
  say(
    differ((run) => run.spec.data.packing),
    'The runs put their examples into micro-batches differently (data.packing), and so take them in another order.',
  );
  say(
    [...seeds.values()].some((set) => set.size === 1),
    'At least one setting ran with one seed only: how far its result varies by chance was not measured.',
  );
  return found;
}
