/** Router biases: a vector for each layer, outside the gradient, that moves by how much each expert is used. */
import type { LayerUsage } from '#worker/model/index.ts';

/** Rounds to bfloat16, ties to even, as a bias kept in that type would be. */
function roundToBfloat16(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer);
  const raw = bits[0] ?? 0;
  bits[0] = (raw + 0x7fff + ((raw >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0] ?? 0;
}

/** How a bias moves. */
export interface BiasRule {
  readonly usage: 'soft' | 'hard';
  readonly padsInUsage: boolean;
  readonly dtype: 'float32' | 'bfloat16';
  /** Bound on the absolute value; null: none. */
  readonly clip: number | null;
}

/** The statistic of `usage` that the rule looks at. */
export function usageOf(rule: BiasRule, usage: LayerUsage): ArrayLike<number> {
  if (rule.usage === 'soft') return rule.padsInUsage ? usage.softAll_E : usage.soft_E;
  return rule.padsInUsage ? usage.hardAll_E : usage.hard_E;
}

/**
 * `b_e += γ · sign(usage_e − mean usage)`. γ is rounded to float32 before it is added; an expert exactly at the mean stays.
 * @param gamma above zero, overloaded experts are raised (ExpertCondenser); below zero, underloaded ones (loss-free
 *   balancing).
 */
export function moveBias(
  bias_E: Float32Array,
  usage_E: ArrayLike<number>,
  gamma: number,
  rule: BiasRule,
): void {
  const speed = rule.dtype === 'bfloat16' ? gamma : Math.fround(gamma);
  let sum = 0;
  for (let e = 0; e < bias_E.length; e++) sum += usage_E[e] ?? 0;
  const mean = sum / bias_E.length;
  for (let e = 0; e < bias_E.length; e++) {
    const moved = (bias_E[e] ?? 0) + speed * Math.sign((usage_E[e] ?? 0) - mean);
    const clipped = rule.clip === null ? moved : Math.min(rule.clip, Math.max(-rule.clip, moved));
    bias_E[e] = rule.dtype === 'bfloat16' ? roundToBfloat16(clipped) : clipped;
  }
}

/** Adds `more` to `sums`, layer by layer. */
export function addUsage(sums: readonly Float64Array[], more: readonly ArrayLike<number>[]): void {
  sums.forEach((sum, layer) => {
    const addend = more[layer] ?? [];
    for (let e = 0; e < sum.length; e++) sum[e] = (sum[e] ?? 0) + (addend[e] ?? 0);
  });
}

/** The biases of all layers in one vector, `[layers × experts]`. */
export function joinLayers(bias: readonly Float32Array[]): Float32Array {
  const bias_LE = new Float32Array(bias.reduce((sum, layer) => sum + layer.length, 0));
  let offset = 0;
  for (const layer of bias) {
    bias_LE.set(layer, offset);
    offset += layer.length;
  }
  return bias_LE;
}

/** Typed vectors of all layers as JSON. */
export function plainLayers(vectors: readonly ArrayLike<number>[]): number[][] {
  return vectors.map((vector) => Array.from(vector));
}
