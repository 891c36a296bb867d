/** From runs to everything a report shows; the three writers only lay it out. */
import type { z } from 'zod';
import type { Comparison } from '#core/contract/run.ts';
import { invariant } from '#core/contract/errors.ts';
import { findingsOf } from './run-findings.ts';
import { compareRuns } from './compare-runs.ts';
import { firstAndLastTenth, layerOf, type LoadWindow } from './metrics/load-windows.ts';
import {
  deadExperts,
  hasLoad,
  loadMetrics,
  OVERLOAD,
  overloaded,
  totalVariation,
} from '#core/load/load-metrics.ts';
import type { LayerReport, LoadMap, LossCurve, ReportData, RoutingReport, RunReport } from './report-data.ts';
import { type RunData, totalsOf } from './run-data.ts';
import { summarise } from './summarise.ts';
import { usageDifference } from './metrics/usage-difference.ts';

/** Points drawn of one curve. */
const CURVE_POINTS = 400;

/**
 * Builds the report of at least one run.
 * @param stamp when and by which program: the only input besides the runs, so that the same runs give the same report.
 */
export function buildReport(
  runs: readonly RunData[],
  stamp: { readonly createdMs: number; readonly program: string },
): ReportData {
  const [only, ...others] = runs;
  invariant(only !== undefined, 'a report needs a run');
  const comparison = compareRuns(runs);
  const reports = runs.map((run, i) => reportOf(run, comparison.runs[i]));
  return {
    title: others.length === 0 ? only.summary.name : `Comparison of ${runs.length} runs`,
    createdMs: stamp.createdMs,
    program: stamp.program,
    summary: summarise(reports, comparison),
    runs: reports,
    comparison,
    usage: others.map((run) => usageDifference(only, run)),
    method: [
      'Loss is the mean cross-entropy per trained token, in nats, with the weights before the step; auxiliary losses are not part of it.',
      'Final training loss is the mean over the trained tokens of the last tenth of the steps; one step alone is noise.',
      'Speeds and budgets count non-padding tokens. Time is the time in optimizer steps, without evaluation, checkpoints and pauses.',
      'Expert load counts all k choices of every real token, padding left out, in each layer by itself; shares are averaged over optimizer steps. Always-active experts (condensers) are not choices and are shown apart.',
      'Gini: 0 where all experts are used alike, towards 1 where one has everything. Entropy is divided by its largest value, ln of the number of experts. ' +
        `Overloaded: more than ${OVERLOAD} times the uniform load. Dead: no selection in the last tenth of the recorded steps.`,
      'Drift is the Jensen–Shannon divergence (natural logarithm, at most 0.693) between the load of the first and of the last tenth of the run; moved is the share of selections that went to other experts (total variation).',
      'Differences of expert usage are load of the last tenth in one run minus the same in another, in multiples of the uniform load.',
      'Intervals over seeds are Student’s t, 95 %, over completed runs that differ in nothing but their seed; differences between settings are taken seed by seed first. Of settings that differ only in learning rate, the one with the lowest mean validation loss stands for its method.',
      'Right answers count questions of a suite that the checkpoint answers greedily, with the 95 % interval of Wilson. Answers are found by two rules; in brackets that of published evaluators.',
      'What was not measured is left out; it is never shown as zero.',
    ],
  };
}

type Compared = z.infer<typeof Comparison>['runs'][number];

function reportOf(run: RunData, compared: Compared | undefined): RunReport {
  const { summary, spec, facts } = run;
  const routing = routingOf(run, compared);
  return {
    id: summary.id,
    name: summary.name,
    state: summary.state,
    ...(summary.reason !== undefined && { reason: summary.reason }),
    method: summary.method,
    modelName: summary.modelName,
    createdMs: summary.createdMs,
    spec,
    facts,
    totals: totalsOf(run),
    curve: curveOf(run),
    findings: findingsOf(run),
    ...(routing && { routing }),
    ...(run.audit && { audit: run.audit }),
    scores: run.scores,
  };
}

function curveOf({ series }: RunData): LossCurve {
  const { steps, evaluations } = series;
  // Time constant of the average in steps; the bias correction makes the first values averages of what there is.
  const decay = Math.exp(-1 / Math.max(1, steps.length / 50));
  let average = 0;
  let weight = 0;
  const smoothed = steps.map(({ step, loss }) => {
    average = decay * average + (1 - decay) * loss;
    weight = decay * weight + (1 - decay);
    return { step, loss: average / weight };
  });
  const stride = Math.max(1, steps.length / CURVE_POINTS);
  const kept = <T>(rows: readonly T[]): T[] =>
    rows.filter((_, i) => i === rows.length - 1 || Math.floor(i / stride) !== Math.floor((i - 1) / stride));
  return {
    train: kept(steps).map(({ step, loss }) => ({ step, loss })),
    smoothed: kept(smoothed),
    validation: evaluations.map(({ step, loss }) => ({ step, loss })),
  };
}

function routingOf({ facts, routing }: RunData, compared: Compared | undefined): RoutingReport | null {
  const tenths = facts && firstAndLastTenth(routing, facts.moeLayers, facts.experts);
  if (!facts || !tenths) return null;
  const { moeLayers, experts } = facts;
  const latest = routing.at(-1);
  const layers = Array.from({ length: moeLayers }, (_, l): LayerReport => {
    const [first_E, last_E] = [tenths.first.share_LE[l], tenths.last.share_LE[l]];
    const first = first_E && hasLoad(first_E) ? loadMetrics(first_E) : null;
    const last = last_E && hasLoad(last_E) ? loadMetrics(last_E) : null;
    const drift = compared?.drift_L[l];
    return {
      layer: facts.moeLayerIndices[l] ?? l,
      meanGini: compared?.gini_L[l] ?? 0,
      firstGini: first?.gini ?? 0,
      lastGini: last?.gini ?? 0,
      entropyNormalised: last?.entropyNormalised ?? 0,
      maxOverMean: last?.maxOverMean ?? 0,
      dead: last_E ? deadExperts(last_E, latest?.condensers?.[l]).length : 0,
      overloaded: last_E && last ? overloaded(last_E, OVERLOAD).length : 0,
      expertsForHalf: last?.expertsForHalf ?? 0,
      ...(drift !== undefined && { drift }),
      ...(drift !== undefined &&
        first_E &&
        last_E &&
        first &&
        last && { moved: totalVariation(first_E, last_E) }),
      condensers: latest?.condensers?.[l] ?? [],
    };
  });
  const bias = latest?.bias_LE;
  return {
    layers,
    experts,
    expertsPerToken: facts.expertsPerToken,
    first: mapOf(tenths.first, experts),
    last: mapOf(tenths.last, experts),
    ...(bias && { bias_LE: Array.from({ length: moeLayers }, (_, l) => [...layerOf(bias, l, experts)]) }),
  };
}

function mapOf(window: LoadWindow, experts: number): LoadMap {
  return {
    fromStep: window.fromStep,
    toStep: window.toStep,
    load_LE: window.share_LE.map((share_E) => [...share_E].map((share) => share * experts)),
  };
}
