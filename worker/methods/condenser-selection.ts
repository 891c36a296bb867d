/** Which experts become condensers, and how many each layer gets. */
import { UserError } from '#core/contract/errors.ts';

/**
 * The `count` experts with the lowest bias; ties go to the lower soft usage, then to the lower index.
 * @throws UserError `expert-condenser/no-bias` when every bias is zero: there is nothing to choose by.
 */
export function selectCondensers(
  bias_E: ArrayLike<number>,
  softUsage_E: ArrayLike<number>,
  count: number,
): number[] {
  const experts = Array.from({ length: bias_E.length }, (_, e) => e);
  if (count > 0 && experts.every((e) => bias_E[e] === 0)) {
    throw new UserError(
      'expert-condenser/no-bias',
      'condensers cannot be chosen: every router bias is zero',
      'Run phase "bias" first (or "both"), or give the file of a phase that did in biasFile.',
    );
  }
  const at = (values: ArrayLike<number>, e: number) => values[e] ?? 0;
  return experts
    .sort((a, b) => at(bias_E, a) - at(bias_E, b) || at(softUsage_E, a) - at(softUsage_E, b) || a - b)
    .slice(0, count);
}

/**
 * Shares `total` condensers over layers in proportion to `scores`, none above `max` or below `min` (water filling:
 * layers that reach `max` are fixed there and the rest is shared again), then rounds by largest remainder; equal
 * remainders go to the lower layer.
 * @throws UserError `expert-condenser/allocation` when `total` cannot be met within the limits.
 */
export function allocateCondensers(scores: readonly number[], total: number, max: number, min = 0): number[] {
  const layers = scores.length;
  if (total < layers * min || total > layers * max) {
    throw new UserError(
      'expert-condenser/allocation',
      `${total} condensers cannot be shared over ${layers} layers with ${min} to ${max} in each`,
      `Choose a total between ${layers * min} and ${layers * max}.`,
    );
  }
  const weight = scores.map((score) => Math.max(score, 1e-12));
  const want = new Array<number>(layers).fill(max);
  let open = scores.map((_, layer) => layer);
  for (;;) {
    const remaining = total - (layers - open.length) * max - open.length * min;
    const openWeight = open.reduce((sum, layer) => sum + (weight[layer] ?? 0), 0);
    const share = (layer: number) => min + (remaining * (weight[layer] ?? 0)) / openWeight;
    const over = new Set(open.filter((layer) => share(layer) > max));
    if (over.size === 0) {
      for (const layer of open) want[layer] = share(layer);
      break;
    }
    open = open.filter((layer) => !over.has(layer));
  }
  const allocation = want.map((value) => Math.floor(value));
  let left = total - allocation.reduce((sum, value) => sum + value, 0);
  const remainder = (layer: number) => (want[layer] ?? 0) - Math.floor(want[layer] ?? 0);
  const byRemainder = scores.map((_, layer) => layer).sort((a, b) => remainder(b) - remainder(a) || a - b);
  const byWeight = scores
    .map((_, layer) => layer)
    .sort((a, b) => (weight[b] ?? 0) - (weight[a] ?? 0) || a - b);
  for (const order of [byRemainder, byWeight]) {
    for (const layer of order) {
      if (left > 0 && (allocation[layer] ?? 0) < max) {
        allocation[layer] = (allocation[layer] ?? 0) + 1;
        left--;
      }
    }
  }
  while (left > 0) {
    const layer = byWeight.find((candidate) => (allocation[candidate] ?? 0) < max);
    if (layer === undefined) break;
    const room = Math.min(left, max - (allocation[layer] ?? 0));
    allocation[layer] = (allocation[layer] ?? 0) + room;
    left -= room;
  }
  return allocation;
}
