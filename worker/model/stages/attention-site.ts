/** What all kinds of attention share: their surroundings in the stage, heads, and the mixing of values. */
import { op, type Value } from '#worker/graph/index.ts';
import type { RopePlan } from '../decoder-plan.ts';
import type { Matrix } from './weight.ts';

/** What a kind of attention reads to make its context. */
export interface AttentionSite {
  /** The normalised hidden state, [N, hidden]; N = B·S. */
  readonly x_NH: Value;
  readonly hidden: number;
  readonly mask_B1SS: Value;
  readonly weight: (role: string, shape: readonly number[]) => Value;
  /** A weight of a linear map, for `linear`. */
  readonly matrix: (role: string, shape: readonly [out: number, width: number]) => Matrix;
  /** Turns `x_BHSD` by its positions. */
  readonly rotate: (x_BHSD: Value, rope: RopePlan) => Value;
  /** Declares a value worth keeping for the backward pass, and gives it back. */
  readonly save: (name: string, value: Value) => Value;
}

/** [N, count · D] → [B, count, S, D]. */
export function splitHeads(value: Value, count: number, headDim: number): Value {
  return op.transpose(op.reshape(value, ['B', 'S', count, headDim]), { perm: [0, 2, 1, 3] });
}

/** Mixes values by `softmax(scale · q kᵀ + mask)`: [B, heads, S, D] → [N, heads · D]. */
export function mixValues(
  { mask_B1SS }: AttentionSite,
  { query, key, value }: { readonly query: Value; readonly key: Value; readonly value: Value },
  { scale, width, sinks_Q11 }: { readonly scale: number; readonly width: number; readonly sinks_Q11?: Value },
): Value {
  const scores_BQSS = op.add(op.matmul(query, key, { transB: true, alpha: scale }), mask_B1SS);
  const mixed_BQSD = op.matmul(withSink(scores_BQSS, sinks_Q11), value);
  return op.reshape(op.transpose(mixed_BQSD, { perm: [0, 2, 1, 3] }), ['N', width]);
}

/**
 * The softmax of scores and a sink logit σ, without the sink: `softmax(s) · sigmoid(logsumexp(s) − σ)`, since
 * `e^s / (Σ e^s + e^σ) = e^s / Σ e^s · 1 / (1 + e^(σ − logsumexp(s)))`.
 */
function withSink(scores_BQSS: Value, sinks_Q11: Value | undefined): Value {
  const probabilities = op.softmax(scores_BQSS);
  if (sinks_Q11 === undefined) return probabilities;
  const share_BQS1 = op.sigmoid(op.sub(op.logSumExp(scores_BQSS, { keepDims: true }), sinks_Q11));
  return op.mul(probabilities, share_BQS1);
}

/** Repeats each key or value head for the group of query heads that reads it: [B, kv, S, D] → [B, heads, S, D]. */
export function shareHeads(value: Value, keyValueHeads: number, heads: number, headDim: number): Value {
  if (keyValueHeads === heads) return value;
  const group = heads / keyValueHeads;
  const grouped = op.expand(op.unsqueeze(value, { axes: [2] }), ['B', keyValueHeads, group, 'S', headDim]);
  return op.reshape(grouped, ['B', heads, 'S', headDim]);
}
