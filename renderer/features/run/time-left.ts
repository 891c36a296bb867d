/** How long a run will go on. */
import type { StepMetrics } from '#core/contract/metrics.ts';

/** Steps the estimate looks back on. */
const LOOK_BACK = 60;
/** Fewer steps than this say nothing yet. */
const LEAST = 5;

/** Seconds between the last steps, pauses left out (anything longer than ten times the median). */
export function stepSeconds(steps: readonly StepMetrics[]): readonly number[] {
  const recent = steps.slice(-LOOK_BACK - 1);
  const seconds = recent.slice(1).map((step, i) => (step.wallMs - (recent[i]?.wallMs ?? step.wallMs)) / 1000);
  const median = [...seconds].sort((a, b) => a - b)[Math.floor(seconds.length / 2)] ?? 0;
  return seconds.filter((value) => value >= 0 && value <= 10 * Math.max(median, 1e-3));
}

/**
 * Seconds that `remaining` steps will take, as a range: the mean of the recent steps, wider by the difference between
 * their older and newer half, and by 5 % at least. Undefined until there is something to go by.
 */
export function secondsLeft(
  steps: readonly StepMetrics[],
  remaining: number,
): { readonly low: number; readonly high: number } | undefined {
  const seconds = stepSeconds(steps);
  if (seconds.length < LEAST) return undefined;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const half = Math.floor(seconds.length / 2);
  const all = mean(seconds);
  const change = Math.abs(mean(seconds.slice(half)) - mean(seconds.slice(0, half)));
  const spread = Math.max(0.05 * all, change);
  return { low: remaining * Math.max(0, all - spread), high: remaining * (all + spread) };
}
