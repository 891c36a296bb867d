/** The run's series as curves over steps, tokens or time. */
import type { Evaluation, RunEventRecord, StepMetrics } from '#core/contract/metrics.ts';
import type { Line, Marker } from '../../charts/line-chart.tsx';
import { niceCeil, smooth } from '../../charts/series.ts';
import { formatCount, formatDuration, formatLarge, formatMB, formatNumber } from '../../ui/format.ts';

/** What runs along the x axis. */
export type Along = 'step' | 'tokens' | 'time';

/** A quantity measured at each step. */
export type Quantity =
  'loss' | 'learningRate' | 'gradNorm' | 'tokensPerSecond' | 'rssMB' | 'deviceMB' | 'auxLoss';

/** Names, units and text forms of the quantities. */
export const quantities: Readonly<
  Record<
    Quantity,
    { readonly title: string; readonly unit: string; readonly format: (value: number) => string }
  >
> = {
  loss: { title: 'Loss', unit: '', format: formatNumber },
  tokensPerSecond: { title: 'Tokens per second', unit: 'tok/s', format: formatNumber },
  rssMB: { title: 'Memory', unit: '', format: formatMB },
  deviceMB: { title: 'GPU memory', unit: '', format: formatMB },
  learningRate: { title: 'Learning rate', unit: '', format: formatNumber },
  gradNorm: { title: 'Gradient norm', unit: '', format: formatNumber },
  auxLoss: { title: 'Auxiliary loss', unit: '', format: formatNumber },
};

/** Below so many steps each one is a point. */
const FEW = 30;

/** Steps over which the training loss of a run of `total` steps is smoothed: a twentieth of it, 3 to 20. */
export function smoothSpan(total: number): number {
  return Math.max(3, Math.min(20, Math.round(total / 20)));
}

/** Where each step lies on the axis. */
export interface Axis {
  readonly label: string;
  readonly format: (x: number) => string;
  readonly x: readonly number[];
  /** Place of the last measured step up to `step`. */
  readonly at: (step: number) => number | undefined;
  /** Step nearest to a place. */
  readonly stepAt: (x: number) => number | undefined;
}

/** The axis for `steps` (ascending). */
export function axisOf(steps: readonly StepMetrics[], along: Along): Axis {
  let tokens = 0;
  const startMs = steps[0]?.wallMs ?? 0;
  const x = steps.map((step) => {
    tokens += step.tokens;
    return along === 'step' ? step.step : along === 'tokens' ? tokens : (step.wallMs - startMs) / 1000;
  });
  const indexOf = (step: number) => {
    let [low, high] = [0, steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((steps[middle]?.step ?? 0) <= step) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };
  return {
    label: { step: 'step', tokens: 'tokens', time: 'time' }[along],
    format: { step: formatCount, tokens: formatLarge, time: formatDuration }[along],
    x,
    at: (step) => {
      const index = indexOf(step);
      return index < 0 ? (along === 'step' ? step : 0) : along === 'step' ? step : x[index];
    },
    stepAt: (place) => {
      let best: number | undefined;
      let distance = Number.POSITIVE_INFINITY;
      x.forEach((value, i) => {
        if (Math.abs(value - place) < distance) {
          distance = Math.abs(value - place);
          best = steps[i]?.step;
        }
      });
      return best;
    },
  };
}

/** The curves of one quantity; the loss has its smoothed form and the evaluations beside it. */
export function linesOf(
  quantity: Quantity,
  steps: readonly StepMetrics[],
  evaluations: readonly Evaluation[],
  axis: Axis,
  totalSteps: number,
): readonly Line[] {
  const span = smoothSpan(totalSteps);
  const { title } = quantities[quantity];
  const values = steps.map((step) => step[quantity]);
  if (quantity !== 'loss') {
    const y = values.map((value) => (value === undefined || !Number.isFinite(value) ? null : value));
    return [{ key: quantity, label: title.toLowerCase(), colour: '--s1', x: axis.x, y }];
  }
  const losses = steps.map((step) => step.loss);
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  const lines: Line[] = [
    {
      key: 'raw',
      label: 'train, each step',
      colour: '--s1',
      alpha: 0.3,
      width: 1,
      points: steps.length < FEW,
      x: axis.x,
      y: losses.map(finite),
    },
    {
      key: 'smooth',
      label: `smoothed over ${span}`,
      colour: '--s1',
      width: 2,
      x: axis.x,
      y: smooth(losses, span).map(finite),
    },
  ];
  if (evaluations.length > 0) {
    const placed = evaluations.flatMap((evaluation) => {
      const x = axis.at(evaluation.step);
      return x === undefined ? [] : [{ x, y: finite(evaluation.loss) }];
    });
    lines.push({
      key: 'validation',
      label: 'validation',
      colour: '--s2',
      dots: true,
      x: placed.map((point) => point.x),
      y: placed.map((point) => point.y),
    });
  }
  return lines;
}

/** Phases and checkpoints as markers on the axis. */
export function markersOf(events: readonly RunEventRecord[], axis: Axis): readonly Marker[] {
  return events.flatMap((event) => {
    if (event.kind !== 'phase' && event.kind !== 'checkpoint') return [];
    const x = axis.at(event.step);
    return x === undefined ? [] : [{ x, label: event.message, dashed: event.kind === 'phase' }];
  });
}

/**
 * Where the axis of steps ends after `step`: it grows in steps up to the end of the run, so that a curve has a quarter of the
 * width at least, and a long run can be read from its beginning.
 */
export function lastShown(step: number, totalSteps = Infinity): number {
  return Math.min(totalSteps, niceCeil(2 * step));
}
