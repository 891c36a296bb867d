/** Experts that start as copies of one, each changed at random (EvoMoE, Nie et al. 2021, arXiv 2112.14397, first phase). */
import { parameterId, parametersOf, type DecoderPlan } from '#worker/model/index.ts';
import { normal, uniform } from '#worker/random/index.ts';

/** How a copy is changed: a share of its weights set to zero, or noise of a size relative to the weights'. */
export interface Diversity {
  readonly kind: 'mask' | 'noise';
  /** The share, or the standard deviation in units of the root mean square of a matrix. */
  readonly amount: number;
}

/**
 * Makes each expert of each layer a copy of the layer's first, its matrices changed; what is drawn depends on `seed` and the
 * expert alone.
 * @param weights values of a parameter, to be changed in place.
 */
export function copyFirstExpert(
  plan: DecoderPlan,
  seed: number,
  diversity: Diversity,
  weights: (id: string) => Float32Array,
): void {
  // The first expert is the last to change: the others are copies of it.
  for (const { id, role, layer, expert, shape } of parametersOf(plan).toReversed()) {
    if (expert === null) continue;
    const values = weights(id);
    if (expert !== 0) values.set(weights(parameterId(role, layer, 0)));
    if (shape.length > 1) change(values, diversity, seed, `diversify ${id}`);
  }
}

function change(values: Float32Array, { kind, amount }: Diversity, seed: number, name: string): void {
  if (amount === 0) return;
  if (kind === 'mask') {
    for (const at of drawPlaces(values.length, amount, seed, name)) values[at] = 0;
    return;
  }
  const size = amount * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  normal(seed, name, values.length).forEach((noise, at) => {
    values[at] = (values[at] as number) + size * noise;
  });
}

/** Places below `count`, each there with probability `share`: the gaps between them are drawn, which takes fewer draws. */
function* drawPlaces(count: number, share: number, seed: number, name: string): Generator<number> {
  const block = 1024;
  let at = -1;
  for (let part = 0; ; part++) {
    for (const u of uniform(seed, `${name} ${part}`, block)) {
      at += 1 + Math.floor(Math.log(u) / Math.log(1 - share));
      if (at >= count) return;
      yield at;
    }
  }
}
