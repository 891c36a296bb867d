import { invariant } from '#core/contract/errors.ts';

/** Quantile `q` of `values`, between the two nearest ones in proportion; 0.5: the median. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  invariant(low !== undefined && high !== undefined, 'a quantile of nothing');
  return low + (high - low) * (at - Math.floor(at));
}
