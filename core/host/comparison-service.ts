/** Comparisons of methods as one job: what they will need, and their runs in the queue. */
import { invariant } from '#core/contract/errors.ts';
import type { ComparisonDraft, ComparisonPlan, HostHandlers, RunDraft } from '#core/contract/host-api.ts';
import type { RunPlan } from '#core/contract/method.ts';
import { expandComparison, labelsOf, runsPerSeed } from '#core/contract/method-comparison.ts';
import type { RunService } from './run-service.ts';

type ComparisonHandlers = Pick<HostHandlers, 'compare.plan' | 'compare.start'>;

/** Serves comparisons over the runs of `runs`. */
export function createComparisonHandlers(runs: RunService): ComparisonHandlers {
  const draftsOf = ({ methods, seeds, ...common }: ComparisonDraft): RunDraft[] =>
    expandComparison(common, { methods, seeds });
  return {
    'compare.plan': async (draft) => {
      const drafts = draftsOf(draft);
      const labels = labelsOf(draft.methods);
      const methods: ComparisonPlan['methods'] = [];
      // All runs of a method need the same; those of the first seed come first, method by method.
      let first = 0;
      for (const [i, method] of draft.methods.entries()) {
        const one = drafts[first];
        invariant(one !== undefined, 'every method has a run');
        const perSeed = runsPerSeed(method);
        methods.push({
          label: labels[i] ?? '',
          runs: perSeed * draft.seeds.length,
          plan: await runs.plan(one),
        });
        first += perSeed;
      }
      return planOf(methods);
    },
    'compare.start': (draft) => {
      // Whatever is wrong is thrown before the first run is queued.
      const specs = draftsOf(draft).map((one) => runs.specOf(one));
      return { ids: specs.map((spec) => runs.start(spec)) };
    },
  };
}

/** The plans of all methods as one. */
function planOf(methods: ComparisonPlan['methods']): ComparisonPlan {
  const plans = methods.map(({ plan }) => plan);
  const sum = (of: (plan: RunPlan) => number) =>
    methods.reduce((total, { runs, plan }) => total + runs * of(plan), 0);
  const most = (of: (plan: RunPlan) => number) => Math.max(...plans.map(of));
  const least = (of: (plan: RunPlan) => number) => Math.min(...plans.map(of));
  const timed = plans.every((plan) => plan.timeSeconds !== undefined);
  return {
    ok: plans.every((plan) => plan.ok),
    problems: methods.flatMap(({ label, plan }) => plan.problems.map((problem) => `${label}: ${problem}`)),
    runs: sum(() => 1),
    methods,
    memoryMB: {
      low: most((plan) => plan.memoryMB.low),
      high: most((plan) => plan.memoryMB.high),
      availableMB: least((plan) => plan.memoryMB.availableMB),
    },
    diskMB: { total: sum((plan) => plan.diskMB.total), freeMB: least((plan) => plan.diskMB.freeMB) },
    ...(timed && {
      timeSeconds: {
        low: sum((plan) => plan.timeSeconds?.low ?? 0),
        high: sum((plan) => plan.timeSeconds?.high ?? 0),
      },
    }),
    pastErrors: plans[0]?.pastErrors,
  };
}
