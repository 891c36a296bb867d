/**
 * Rules that put what a chart shows into a sentence: the number, what it compares to, and one thing to do.
 *
 * Layers are named by their index in the decoder (0 = next to the input), experts by their index in the layer.
 */
import type { RoutingRecord, StepMetrics } from '#core/contract/metrics.ts';
import { methodsIn, type NamedMethod } from '#core/contract/methods-together.ts';
import type { RunFinding } from '#core/contract/run-finding.ts';
import { listed, percent, plural, significant } from './format.ts';
import { drift_L, firstAndLastTenth, type LoadWindow } from './metrics/load-windows.ts';
import { deadExperts, gini, hasLoad, heaviest, topShare } from '#core/load/load-metrics.ts';
import { type RunData, totalsOf } from './run-data.ts';

/** At most this many layers are named by one rule: the worst. */
const LAYERS_PER_RULE = 3;

/** All findings, warnings first, in the order of the rules. */
export function findingsOf(run: RunData): RunFinding[] {
  const findings = [...lossFindings(run), ...routingFindings(run)];
  const rank = { warning: 0, info: 1, good: 2 };
  return findings.toSorted((a, b) => rank[a.severity] - rank[b.severity]);
}

function lossFindings(run: RunData): RunFinding[] {
  const { steps } = run.series;
  return [validation(run), notLearning(run), clipping(run), lossSpike(steps), gradientSpike(steps)].filter(
    (finding) => finding !== null,
  );
}

/** The last validation loss is more than 2 % above the lowest, or at least not above the first. */
function validation(run: RunData): RunFinding | null {
  const { firstValidation: first, bestValidation: best, finalValidation: final } = totalsOf(run);
  if (!first || !best || !final || first.step === final.step) return null;
  if (final.loss <= best.loss * 1.02) {
    if (final.loss >= first.loss) return null;
    return {
      rule: 'validation',
      severity: 'good',
      text:
        `Validation loss fell from ${significant(first.loss)} at step ${first.step} to ${significant(final.loss)} ` +
        `at step ${final.step}.`,
      action: 'Nothing to do.',
      step: final.step,
    };
  }
  return {
    rule: 'overfitting',
    severity: 'warning',
    text:
      `Validation loss is ${significant(final.loss)} at step ${final.step}, ${percent(final.loss / best.loss - 1)} ` +
      `above its lowest, ${significant(best.loss)} at step ${best.step}.`,
    action: `Use the checkpoint nearest to step ${best.step}, or train that long only.`,
    step: best.step,
  };
}

/** Training loss fell by less than 1 % from the first to the last tenth, over at least 20 steps. */
function notLearning(run: RunData): RunFinding | null {
  const { steps, firstLoss, finalLoss } = totalsOf(run);
  if (steps < 20 || firstLoss === undefined || finalLoss === undefined) return null;
  const fall = 1 - finalLoss / firstLoss;
  if (fall >= 0.01) return null;
  return {
    rule: 'not-learning',
    severity: 'warning',
    text:
      `Training loss is ${significant(finalLoss)} in the last tenth of the run and ${significant(firstLoss)} in the first, ` +
      `${fall >= 0 ? `a fall of only ${percent(fall)}` : `a rise of ${percent(-fall)}`}.`,
    action:
      fall >= 0
        ? `Try a higher learning rate than ${significant(run.spec.train.learningRate)}, or more steps.`
        : `Try a lower learning rate than ${significant(run.spec.train.learningRate)}.`,
  };
}

/** More than half of the steps had their gradient clipped. */
function clipping(run: RunData): RunFinding | null {
  const limit = run.spec.train.maxGradNorm;
  const { steps } = run.series;
  if (limit === null || steps.length < 20) return null;
  const clipped = steps.filter((row) => row.gradNorm > limit).length / steps.length;
  if (clipped <= 0.5) return null;
  const norms = steps.map((row) => row.gradNorm).sort((a, b) => a - b);
  return {
    rule: 'clipping',
    severity: 'info',
    text:
      `${percent(clipped)} of the steps had a gradient norm above the clipping limit of ${significant(limit)}; ` +
      `the median norm is ${significant(norms[norms.length >> 1] ?? 0)}.`,
    action:
      'Compare with a run that has a higher train.maxGradNorm: the limit now acts as a second learning rate.',
  };
}

/** A step's loss is more than 1.5 times the median of the 20 steps before it: the largest such step. */
function lossSpike(steps: readonly StepMetrics[]): RunFinding | null {
  let worst: { row: StepMetrics; median: number } | null = null;
  for (let i = 20; i < steps.length; i++) {
    const row = steps[i];
    const before = steps
      .slice(i - 20, i)
      .map((step) => step.loss)
      .sort((a, b) => a - b);
    const median = ((before[9] ?? 0) + (before[10] ?? 0)) / 2;
    if (
      row &&
      row.loss > 1.5 * median &&
      (worst === null || row.loss / median > worst.row.loss / worst.median)
    ) {
      worst = { row, median };
    }
  }
  if (worst === null) return null;
  return {
    rule: 'loss-spike',
    severity: 'warning',
    text:
      `Loss jumped to ${significant(worst.row.loss)} at step ${worst.row.step}, ` +
      `${significant(worst.row.loss / worst.median, 2)} times the median of the 20 steps before.`,
    action: 'Look at the rows of that step for damaged text; a longer warm-up also helps.',
    step: worst.row.step,
  };
}

/** A gradient norm of the last five steps is more than five times the median of the last hundred. */
function gradientSpike(steps: readonly StepMetrics[]): RunFinding | null {
  const recent = steps.slice(-100);
  const largest = steps.slice(-5).toSorted((a, b) => b.gradNorm - a.gradNorm)[0];
  if (recent.length < 20 || !largest) return null;
  const usual = recent.map((row) => row.gradNorm).sort((a, b) => a - b)[recent.length >> 1] ?? 0;
  if (usual === 0 || largest.gradNorm <= 5 * usual) return null;
  return {
    rule: 'gradient-spike',
    severity: 'warning',
    text:
      `The gradient norm is ${significant(largest.gradNorm)} at step ${largest.step}, ` +
      `${significant(largest.gradNorm / usual, 2)} times the median of the last ${recent.length} steps.`,
    action:
      'Watch the loss of the next steps; if it rises, resume from the last checkpoint with a lower rate.',
    step: largest.step,
  };
}

function routingFindings({ facts, routing, spec }: RunData): RunFinding[] {
  const tenths = facts && firstAndLastTenth(routing, facts.moeLayers, facts.experts);
  if (!facts || !tenths) return [];
  const layer = (l: number) => facts.moeLayerIndices[l] ?? l;
  const { first, last } = tenths;
  return [
    ...concentration(last, facts.experts, layer),
    ...dead(last, routing.at(-1)?.condensers, facts.experts, layer),
    ...(routing.length < 2
      ? []
      : [
          ...giniChange(first, last, layer, methodsIn(spec.method).some(concentrates)),
          ...drift(drift_L(routing, facts.moeLayers, facts.experts), first, last, layer),
        ]),
  ];
}

/** A sixteenth of the experts (at least one) has three times its uniform share of the selections, and at least a fifth. */
function concentration(last: LoadWindow, experts: number, layer: (l: number) => number): RunFinding[] {
  const n = Math.max(1, Math.round(experts / 16));
  const uniform = n / experts;
  return worst(
    last.share_LE.map((share_E) => (hasLoad(share_E) ? topShare(share_E, n) : 0)),
    (share) => share >= 3 * uniform && share >= 0.2,
  ).map(({ l, value }) => ({
    rule: 'concentration',
    severity: 'warning',
    text:
      `Layer ${layer(l)} sends ${percent(value)} of its selections to ${n} of ${experts} experts; ` +
      `uniform would be ${percent(uniform)}.`,
    action: 'Compare with a run that balances the load, and keep whichever validates better.',
    layer: layer(l),
    expert: heaviest(last.share_LE[l] ?? []),
  }));
}

/** Experts without a single selection in the last tenth, always-active ones left out. */
function dead(
  last: LoadWindow,
  condensers: RoutingRecord['condensers'],
  experts: number,
  layer: (l: number) => number,
): RunFinding[] {
  const dead_L = last.counts_LE.map((counts_E, l) => deadExperts(counts_E, condensers?.[l]));
  return worst(
    dead_L.map((ids) => ids.length),
    (size) => size > 0,
  ).map(({ l }) => {
    const ids = dead_L[l] ?? [];
    const named = ids.length > 6 ? '' : ` (${listed(ids)})`;
    const uniform = (last.counts_LE[l] ?? new Float64Array()).reduce((sum, n) => sum + n, 0) / experts;
    return {
      rule: 'dead-experts',
      severity: 'warning',
      text:
        `Layer ${layer(l)}: ${ids.length} of ${plural(experts, 'expert')}${named} got no token in ` +
        `${plural(last.records, 'recorded step')} up to step ${last.toStep}; uniform would be ${significant(uniform, 3)} each.`,
      action: 'Their weights move by momentum and weight decay alone: freeze them, or balance the load.',
      layer: layer(l),
      ...(ids[0] !== undefined && { expert: ids[0] }),
    };
  });
}

/** Whether `method` makes the load uneven on purpose. */
const concentrates = (method: NamedMethod): boolean => method.name === 'expert-condenser';

/** Gini moved by more than 0.1 between the first and last tenth. @param meant that it rises is what the method does. */
function giniChange(
  first: LoadWindow,
  last: LoadWindow,
  layer: (l: number) => number,
  meant: boolean,
): RunFinding[] {
  const giniOf = (window: LoadWindow) =>
    window.share_LE.map((share_E) => (hasLoad(share_E) ? gini(share_E) : 0));
  const [before, after] = [giniOf(first), giniOf(last)];
  return worst(
    after.map((value, l) => Math.abs(value - (before[l] ?? value))),
    (change) => change > 0.1,
  ).map(({ l }) => {
    const [from, to] = [before[l] ?? 0, after[l] ?? 0];
    const rose = to > from;
    return {
      rule: 'gini-change',
      severity: rose && !meant ? 'warning' : 'info',
      text:
        `Layer ${layer(l)}: the load became ${rose ? 'less' : 'more'} even, Gini ${significant(from, 2)} in ` +
        `${stepsOf(first)} and ${significant(to, 2)} in ${stepsOf(last)}.`,
      action: !rose
        ? 'Check that the validation loss gained from it.'
        : meant
          ? 'Expert condensers concentrate use on purpose: check that the validation loss gained from it.'
          : "Lower the router's learning rate or freeze it, if the validation loss did not gain from it.",
      layer: layer(l),
    };
  });
}

/** The steps of `window` in words. */
function stepsOf({ fromStep, toStep }: LoadWindow): string {
  return fromStep === toStep ? `step ${fromStep}` : `steps ${fromStep}–${toStep}`;
}

/** Where routing moved most between two windows, or that it hardly moved at all. */
function drift(
  drift_L: readonly number[],
  first: LoadWindow,
  last: LoadWindow,
  layer: (l: number) => number,
): RunFinding[] {
  const sorted = drift_L.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1] ?? 0;
  const [top] = worst(drift_L, () => true);
  if (!top) return [];
  const between = `between ${stepsOf(first)} and ${stepsOf(last)}`;
  if (top.value < 0.01) {
    return [
      {
        rule: 'drift',
        severity: 'good',
        text:
          `Routing stays near where it started: at most ${significant(top.value, 2)} nats (layer ${layer(top.l)}) ` +
          `${between}, Jensen–Shannon; 0.69 is the most there can be.`,
        action: 'Nothing to do.',
        layer: layer(top.l),
      },
    ];
  }
  return [
    {
      rule: 'drift',
      severity: 'info',
      text:
        `Routing moved most in layer ${layer(top.l)}: ${significant(top.value, 2)} nats (Jensen–Shannon) ${between}; ` +
        `the median layer moved ${significant(median, 2)}.`,
      action: 'Look at that layer in the difference map.',
      layer: layer(top.l),
    },
  ];
}

/** The largest few of `values` that pass, largest first. */
function worst(
  values: readonly number[],
  passes: (value: number) => boolean,
): { l: number; value: number }[] {
  return values
    .map((value, l) => ({ l, value }))
    .filter(({ value }) => passes(value))
    .sort((a, b) => b.value - a.value)
    .slice(0, LAYERS_PER_RULE);
}
