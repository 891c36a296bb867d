/** Which neurons of experts to drop, by their scores. */
import { UserError } from '#core/contract/errors.ts';

/** Among which neurons the least ones are looked for. */
export const pruneScopes = ['expert', 'layer', 'global'] as const;
export type PruneScope = (typeof pruneScopes)[number];

/** Dropped neurons in ascending order, `[MoE layers][experts]`. */
export type DroppedNeurons = readonly (readonly (readonly number[])[])[];

/**
 * The neurons with the lowest scores: `expert` drops ⌊I·ratio⌋ of each expert, `layer` ⌊E·I·ratio⌋ of each layer, `global`
 * ⌊L·E·I·ratio⌋ of the model. Of equal scores the lower (layer, expert, neuron) is dropped.
 * @param least neurons that every expert keeps.
 * @throws UserError `prune/too-few` when so many cannot be kept.
 */
export function selectNeurons(
  scores_LEI: readonly (readonly Float64Array[])[],
  scope: PruneScope,
  ratio: number,
  least = 0,
): DroppedNeurons {
  const dropped = scores_LEI.map((layer) => layer.map((): number[] => []));
  const drop = (experts: readonly (readonly [layer: number, expert: number])[]) => {
    const [layers, ids, neurons]: [number[], number[], number[]] = [[], [], []];
    const values: number[] = [];
    for (const [l, e] of experts) {
      scores_LEI[l]?.[e]?.forEach((score, j) => {
        layers.push(l);
        ids.push(e);
        neurons.push(j);
        values.push(score);
      });
    }
    const order = Uint32Array.from(values.keys()).sort(
      (a, b) => (values[a] as number) - (values[b] as number) || a - b,
    );
    let missing = Math.floor(values.length * ratio);
    for (const at of order) {
      if (missing === 0) break;
      const [l, e] = [layers[at] as number, ids[at] as number];
      const taken = dropped[l]?.[e] ?? [];
      if (taken.length + least >= (scores_LEI[l]?.[e]?.length ?? 0)) continue;
      taken.push(neurons[at] as number);
      missing--;
    }
    if (missing > 0) {
      throw new UserError(
        'prune/too-few',
        `a ratio of ${ratio} does not leave ${least} neurons in every expert`,
        'Choose a smaller ratio or a smaller least width.',
      );
    }
  };
  const places = scores_LEI.map((layer, l) => layer.map((_, e) => [l, e] as const));
  if (scope === 'global') drop(places.flat());
  else if (scope === 'layer') for (const layer of places) drop(layer);
  else for (const place of places.flat()) drop([place]);
  return dropped.map((layer) => layer.map((neurons) => neurons.sort((a, b) => a - b)));
}
