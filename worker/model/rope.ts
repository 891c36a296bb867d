/** Cosine and sine tables of a rotary embedding. */
import type { RopePlan } from './decoder-plan.ts';

/** `[positions × d/2]` tables of cos and sin of `position · inverseFrequency`, in float32 steps as the references compute them. */
export function ropeTables(
  rope: RopePlan,
  positions: number,
): { readonly cos_PD: Float32Array; readonly sin_PD: Float32Array } {
  const half = rope.inverseFrequencies.length;
  const cos_PD = new Float32Array(positions * half);
  const sin_PD = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    rope.inverseFrequencies.forEach((frequency, i) => {
      const angle = Math.fround(position * frequency);
      cos_PD[position * half + i] = Math.cos(angle);
      sin_PD[position * half + i] = Math.sin(angle);
    });
  }
  return { cos_PD, sin_PD };
}
