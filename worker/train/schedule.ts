/** The learning rate of each step. */

/** A schedule over `totalSteps`, with a linear warm-up from 0. */
export interface Schedule {
  readonly shape: 'constant' | 'linear' | 'cosine';
  readonly peak: number;
  readonly totalSteps: number;
  readonly warmupSteps: number;
  /** Where linear and cosine end, as a share of the peak. */
  readonly minRatio: number;
}

/** Warm-up steps of a ratio, rounded up as Hugging Face does. */
export function warmupSteps(ratio: number, totalSteps: number): number {
  return Math.ceil(ratio * totalSteps);
}

/**
 * Learning rate of `step`, counted from 0. The first step of a warm-up has rate 0, as in the schedules of Hugging Face
 * transformers, so that curves compare step by step.
 */
export function learningRate(schedule: Schedule, step: number): number {
  const { shape, peak, totalSteps, warmupSteps: warmup, minRatio } = schedule;
  if (step < warmup) return (peak * step) / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, totalSteps - warmup));
  switch (shape) {
    case 'constant':
      return peak;
    case 'linear':
      return peak * (1 - (1 - minRatio) * progress);
    case 'cosine':
      return peak * (minRatio + ((1 - minRatio) / 2) * (1 + Math.cos(Math.PI * progress)));
  }
}
