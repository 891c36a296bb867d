/** Comparisons of methods as one job: what they will need, and their runs in the queue. */
import type { ComparisonDraft, ComparisonPlan, HostHandlers, RunDraft } from '#core/contract/host-api.ts';
import type { RunPlan } from '#core/contract/method.ts';
import { expandComparison, labelsOf } from '#core/contract/method-comparison.ts';
import type { RunService } from './run-service.ts';

type ComparisonHandlers = Pick<HostHandlers, 'compare.plan' | 'compare.start'>;

/** Serves comparisons over the runs of `runs`. */
export function createComparisonHandlers(runs: RunService): ComparisonHandlers {
  const draftsOf = ({ methods, seeds, ...common }: ComparisonDraft): RunDraft[] =>
    expandComparison(common, { methods, seeds });
  return {
    'compare.plan': async (draft) => {
      // All seeds of a method need the same; the first seed's runs come first.
      const firstSeed = draftsOf(draft).slice(0, draft.methods.length);
      const plans: RunPlan[] = [];
      for (const one of firstSeed) plans.push(await runs.plan(one));
      return planOf(labelsOf(draft.methods), plans, draft.seeds.length);
    },
    'compare.start': (draft) => {
      // Whatever is wrong is thrown before the first run is queued.
      const specs = draftsOf(draft).map((one) => runs.specOf(one));
      return { ids: specs.map((spec) => runs.start(spec)) };
    },
  };
}

/** The plans of all methods as one; `seeds` runs of each. */
function planOf(labels: readonly string[], plans: readonly RunPlan[], seeds: number): ComparisonPlan {
  const sum = (of: (plan: RunPlan) => number) => seeds * plans.reduce((total, plan) => total + of(plan), 0);
  const most = (of: (plan: RunPlan) => number) => Math.max(...plans.map(of));
  const least = (of: (plan: RunPlan) => number) => Math.min(...plans.map(of));
  const timed = plans.every((plan) => plan.timeSeconds !== undefined);
  const disk = sum((plan) => plan.diskMB.total);
  const freeMB = least((plan) => plan.diskMB.freeMB);
  const problems = plans.flatMap((plan, i) => plan.problems.map((problem) => `${labels[i]}: ${problem}`));
  return {
    ok: plans.every((plan) => plan.ok),
    problems,
    runs: seeds * plans.length,
    methods: plans.map((plan, i) => ({ label: labels[i] ?? '', plan })),
    memoryMB: {
      low: most((plan) => plan.memoryMB.low),
      high: most((plan) => plan.memoryMB.high),
      availableMB: least((plan) => plan.memoryMB.availableMB),
    },
    diskMB: { total: disk, freeMB },
    ...(timed && {
      timeSeconds: {
        low: sum((plan) => plan.timeSeconds?.low ?? 0),
        high: sum((plan) => plan.timeSeconds?.high ?? 0),
      },
    }),
    pastErrors: plans[0]?.pastErrors,
  };
}
