/** What deserves attention, in sentences: one rule each, from measured numbers only. */
import type { Evaluation, StepMetrics } from '#core/contract/metrics.ts';
import type { LayerStats, RoutingWindow } from '../../charts/routing-stats.ts';
import { formatNumber, formatShare, plural } from '../../ui/format.ts';

/** What a button beside the sentence does. */
export type LookAction =
  | { readonly kind: 'expert'; readonly row: number; readonly expert: number }
  | { readonly kind: 'step'; readonly step: number };

/** A sentence, what it compares with, and one action. */
export interface Observation {
  readonly key: string;
  readonly tone: 'bad' | 'warn' | 'ok';
  readonly text: string;
  readonly detail: string;
  readonly action?: LookAction;
}

/** What the rules look at. */
export interface LookAtInput {
  readonly steps: readonly StepMetrics[];
  readonly evaluations: readonly Evaluation[];
  readonly window?: RoutingWindow;
  readonly layers: readonly LayerStats[];
  /** Decoder layer index of each row. */
  readonly layerNames: readonly number[];
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

const most = <T>(items: readonly T[], score: (item: T) => number): T | undefined =>
  items.reduce<T | undefined>(
    (best, item) => (best === undefined || score(item) > score(best) ? item : best),
    undefined,
  );

/** A loss that is not a number ends the run; nothing else matters then. */
function lossIsFinite({ steps }: LookAtInput): Observation | undefined {
  const broken = steps.find((step) => !Number.isFinite(step.loss) || !Number.isFinite(step.gradNorm));
  if (broken === undefined) return undefined;
  return {
    key: 'finite',
    tone: 'bad',
    text: `Step ${broken.step}: the loss or the gradient is not a finite number`,
    detail: 'A smaller learning rate or a longer warm-up usually avoids it.',
    action: { kind: 'step', step: broken.step },
  };
}

/** Gradient norm against its recent median. */
function gradientSpike({ steps }: LookAtInput): Observation | undefined {
  const recent = steps.slice(-100);
  const last = recent.slice(-5);
  if (recent.length < 20) return undefined;
  const usual = median(recent.map((step) => step.gradNorm));
  const peak = most(last, (step) => step.gradNorm);
  if (peak === undefined || usual === 0 || peak.gradNorm <= 5 * usual) return undefined;
  return {
    key: 'gradient',
    tone: 'warn',
    text: `Step ${peak.step}: the gradient norm is ${formatNumber(peak.gradNorm / usual, 2)} times its usual size`,
    detail: `${formatNumber(peak.gradNorm)} against a median of ${formatNumber(usual)} over the last ${recent.length} steps.`,
    action: { kind: 'step', step: peak.step },
  };
}

/** The last evaluation against the best one. */
function validationTrend({ evaluations }: LookAtInput): Observation | undefined {
  const last = evaluations.at(-1);
  const best = most(evaluations, (evaluation) => -evaluation.loss);
  if (last === undefined || best === undefined || evaluations.length < 2) return undefined;
  if (last.loss > best.loss * 1.01) {
    return {
      key: 'validation',
      tone: 'warn',
      text: `Validation loss rose from ${formatNumber(best.loss)} at step ${best.step} to ${formatNumber(last.loss)}`,
      detail: 'From here on the model may be learning the training rows by heart.',
      action: { kind: 'step', step: best.step },
    };
  }
  const first = evaluations[0];
  return {
    key: 'validation',
    tone: 'ok',
    text: `Validation loss is ${formatNumber(last.loss)} at step ${last.step}`,
    detail: `It was ${formatNumber(first?.loss)} at step ${first?.step ?? 0}.`,
  };
}

/** The layer in which few experts take most of the tokens. */
function concentration({ layers, layerNames, window }: LookAtInput): Observation | undefined {
  const worst = most(layers, (layer) => layer.gini);
  if (worst === undefined || window === undefined || worst.tokens === 0) return undefined;
  const usual = median(layers.map((layer) => layer.gini));
  const name = layerNames[worst.row] ?? worst.row;
  const counts = window.counts_LE.subarray(worst.row * window.experts, (worst.row + 1) * window.experts);
  const heaviest = counts.indexOf(Math.max(...counts));
  const action: LookAction = { kind: 'expert', row: worst.row, expert: heaviest };
  const compared =
    layers.length === 1
      ? `Gini ${formatNumber(worst.gini, 2)}.`
      : `Gini ${formatNumber(worst.gini, 2)}; the median layer has ${formatNumber(usual, 2)}.`;
  if (worst.overloaded.length > 0 && worst.overloadedShare > 0.25 && worst.gini > 0.3) {
    return {
      key: 'concentration',
      tone: 'warn',
      text: `Layer ${name}: ${plural(worst.overloaded.length, 'expert')} of ${window.experts} ${worst.overloaded.length === 1 ? 'takes' : 'take'} ${formatShare(worst.overloadedShare)} of the selections`,
      detail: compared,
      action,
    };
  }
  return {
    key: 'concentration',
    tone: 'ok',
    text: `Use of the experts is even; most uneven is layer ${name}`,
    detail: compared,
    action,
  };
}

/** Experts that no token chose in the window. */
function deadExperts({ layers, layerNames, window }: LookAtInput): Observation | undefined {
  const dead = layers.flatMap((layer) => layer.dead.map((expert) => ({ row: layer.row, expert })));
  const first = dead[0];
  if (first === undefined || window === undefined) return undefined;
  const named = dead.slice(0, 5).map(({ row, expert }) => `layer ${layerNames[row] ?? row} expert ${expert}`);
  const rest = dead.length > named.length ? ` and ${dead.length - named.length} more` : '';
  return {
    key: 'dead',
    tone: 'warn',
    text: `${plural(dead.length, 'expert')} got no token in ${window.steps === 1 ? 'this step' : `${window.steps} steps`}`,
    detail: `${named.join(', ')}${rest}. Without tokens they have no gradient.`,
    action: { kind: 'expert', ...first },
  };
}

/** How far routing has moved since the first steps. */
function drift({ layers, layerNames }: LookAtInput): Observation | undefined {
  const known = layers.filter((layer) => layer.drift !== undefined);
  const furthest = most(known, (layer) => layer.drift ?? 0);
  if (furthest?.drift === undefined) return undefined;
  const usual = median(known.map((layer) => layer.drift ?? 0));
  const moved = furthest.drift > 0.05;
  return {
    key: 'drift',
    tone: moved ? 'warn' : 'ok',
    text: moved
      ? `Routing moved most in layer ${layerNames[furthest.row] ?? furthest.row}`
      : 'Routing stays near where it started',
    detail: `Jensen–Shannon divergence from the first steps: ${formatNumber(furthest.drift, 2)} nats there, median ${formatNumber(usual, 2)} (0 is equal, 0.69 is disjoint).`,
  };
}

const rules = [lossIsFinite, gradientSpike, concentration, deadExperts, validationTrend, drift];
const order = { bad: 0, warn: 1, ok: 2 };

/** Every observation that applies, the most pressing first. */
export function lookAt(input: LookAtInput): readonly Observation[] {
  return rules.flatMap((rule) => rule(input) ?? []).sort((a, b) => order[a.tone] - order[b.tone]);
}
