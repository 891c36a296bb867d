/** Frequencies of a rotary embedding, and its cosine and sine tables. */
import { UserError } from '#core/contract/errors.ts';
import type { DecoderPlan, RopePlan } from './decoder-plan.ts';

/** Inverse frequencies `θ^(−2i/d)` for i < d/2, rounded to float32 as the reference implementations do. */
export function inverseFrequencies(theta: number, dimensions: number): number[] {
  return Array.from({ length: dimensions / 2 }, (_, i) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / dimensions))),
  );
}

/** @throws UserError `data/too-long` where rows of `positions` positions are longer than a rotation of the plan holds for. */
export function checkPositions({ layers }: DecoderPlan, positions: number): void {
  const most = Math.min(...layers.map(({ attention }) => attention.rope?.mostPositions ?? Infinity));
  if (positions <= most) return;
  throw new UserError(
    'data/too-long',
    `rows of ${positions} tokens are longer than the ${most} that dynamic rotary scaling leaves as they are`,
    'Use shorter rows: beyond that length the rotation of every token would change with the length of its row, which is not supported.',
  );
}

/** What multiplies cos and sin where rows reach `positions` positions. */
export function tableScale({ long, tableScale: plain = 1 }: RopePlan, positions: number): number {
  return long !== undefined && positions > long.above ? long.tableScale : plain;
}

/**
 * `[positions × d/2]` tables of cos and sin of `position · inverseFrequency`, times `scale`, in float32 steps as
 * the references compute them.
 */
export function ropeTables(
  rope: RopePlan,
  positions: number,
  scale: number,
): { readonly cos_PD: Float32Array; readonly sin_PD: Float32Array } {
  const half = rope.inverseFrequencies.length;
  const cos_PD = new Float32Array(positions * half);
  const sin_PD = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    rope.inverseFrequencies.forEach((frequency, i) => {
      const angle = Math.fround(position * frequency);
      cos_PD[position * half + i] = Math.fround(Math.cos(angle)) * scale;
      sin_PD[position * half + i] = Math.fround(Math.sin(angle)) * scale;
    });
  }
  return { cos_PD, sin_PD };
}
