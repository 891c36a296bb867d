/** What all kinds of attention share: their surroundings in the stage, heads, and the mixing of values. */
import { op, type Value } from '#worker/graph/index.ts';
import { rotatedDim, valueDimOf } from '../attention-parameters.ts';
import type { AttentionPlan, RopePlan } from '../decoder-plan.ts';
import type { Matrix } from './weight.ts';

/** What a kind of attention reads to make its heads. */
export interface AttentionSite {
  /** The normalised hidden state, [N, hidden]; N = B·S. */
  readonly x_NH: Value;
  readonly hidden: number;
  readonly weight: (role: string, shape: readonly number[]) => Value;
  /** A weight of a linear map, for `linear`. */
  readonly matrix: (role: string, shape: readonly [out: number, width: number]) => Matrix;
  /** Turns `x_BHSD` by its positions. */
  readonly rotate: (x_BHSD: Value, rope: RopePlan) => Value;
  /** Declares a value worth keeping for the backward pass, and gives it back. */
  readonly save: (name: string, value: Value) => Value;
}

/** What a kind of attention makes of the hidden state. */
export interface Heads {
  /** [B, heads, S, D] */
  readonly query: Value;
  /** [B, keyValueHeads, S, D] */
  readonly key: Value;
  /** [B, keyValueHeads, S, valueDim] */
  readonly value: Value;
  /** What gates the context, before its activation; absent: nothing does. */
  readonly gate?: Value;
}

/** Sizes of the heads of a plan. */
export interface HeadSizes {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
}

/** Sizes of the heads of any kind of attention. */
export function headSizes(attention: AttentionPlan): HeadSizes {
  switch (attention.kind) {
    case 'grouped-query': {
      const { heads, keyValueHeads, headDim } = attention;
      return { heads, keyValueHeads, headDim, valueDim: valueDimOf(attention) };
    }
    case 'latent': {
      const { heads, contentDim, valueDim } = attention;
      return { heads, keyValueHeads: heads, headDim: contentDim + rotatedDim(attention), valueDim };
    }
  }
}

/** [rows · `length`, count · D] → [rows, count, `length`, D]. */
export function splitHeads(value: Value, count: number, headDim: number, [rows, length] = ['B', 'S']): Value {
  return op.transpose(op.reshape(value, [rows ?? 'B', length ?? 'S', count, headDim]), {
    perm: [0, 2, 1, 3],
  });
}

/** The inverse of `splitHeads`: [B, count, S, D] → [`tokens`, count · D]. */
export function mergeHeads(value: Value, width: number, tokens: string): Value {
  return op.reshape(op.transpose(value, { perm: [0, 2, 1, 3] }), [tokens, width]);
}

/**
 * Mixes values by `softmax(scale · q kᵀ + mask)`, `mask` [B, 1, T, U]: [`tokens`, heads · valueDim]. For a convolution the
 * mask has, where a query may look, how many places back the key is.
 */
export function mixHeads(
  attention: AttentionPlan,
  { query, key, value }: Pick<Heads, 'query' | 'key' | 'value'>,
  mask_B1TU: Value,
  weight: AttentionSite['weight'],
  tokens: string,
): Value {
  const sizes = headSizes(attention);
  if (attention.kind === 'grouped-query' && attention.convolution !== undefined) {
    const filter = weight('convolution', [sizes.headDim, 1, attention.convolution]);
    return mergeHeads(convolve({ query, key, value }, mask_B1TU, filter), sizes.headDim, tokens);
  }
  const scores_BQTU = op.add(
    op.matmul(query, shareHeads(key, sizes, sizes.headDim), { transB: true, alpha: attention.scale }),
    mask_B1TU,
  );
  const sinks_Q11 =
    attention.kind === 'grouped-query' && attention.sinks
      ? op.unsqueeze(weight('sinks', [attention.heads]), { axes: [1, 2] })
      : undefined;
  const mixed_BQTD = op.matmul(withSink(scores_BQTU, sinks_Q11), shareHeads(value, sizes, sizes.valueDim));
  const mixed = mergeHeads(mixed_BQTD, sizes.heads * sizes.valueDim, tokens);
  const scale = attention.kind === 'grouped-query' ? attention.valueScale : undefined;
  return scale === undefined ? mixed : op.mul(mixed, scale);
}

/** `query ⊙ Σ_j filter_(n−1−j) ⊙ (key ⊙ value)_(t−j)`, zero for padding; `filter` [D, 1, n]. */
function convolve(
  { query, key, value }: Pick<Heads, 'query' | 'key' | 'value'>,
  lags_B1TU: Value,
  filter_D1n: Value,
): Value {
  const [width = 0, , places = 0] = filter_D1n.shape;
  const size = Number(places);
  const signal_B1UD = op.mul(key, value);
  const isBack = (lag: number) => op.cast(op.equal(lags_B1TU, lag), lags_B1TU.dtype);
  const terms = Array.from({ length: size }, (_, lag) => {
    const column_D11 = op.slice(filter_D1n, { axis: 2, start: size - 1 - lag, end: size - lag });
    return op.mul(op.matmul(isBack(lag), signal_B1UD), op.reshape(column_D11, [width]));
  });
  // A padding query does not look at itself.
  const isReal_B1T1 = op.reduceSum(isBack(0), { axes: [-1], keepDims: true });
  return op.mul(op.mul(query, isReal_B1T1), terms.reduce(op.add));
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

/** Repeats each key or value head for the group of query heads that reads it: [B, kv, U, D] → [B, heads, U, D]. */
function shareHeads(value: Value, { heads, keyValueHeads }: HeadSizes, width: number): Value {
  if (keyValueHeads === heads) return value;
  const group = heads / keyValueHeads;
  const [rows = 'B', , length = 'S'] = value.shape;
  const grouped = op.expand(op.unsqueeze(value, { axes: [2] }), [rows, keyValueHeads, group, length, width]);
  return op.reshape(grouped, [rows, heads, length, width]);
}
