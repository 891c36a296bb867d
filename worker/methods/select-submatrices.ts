/** Choice of the sub-matrices that train, by their scores. */
import type { Parameter, Place, SubmatrixScores } from '#worker/model/index.ts';

/** Weights whose sub-matrices compete, and how many of them are chosen. */
export interface ScoredGroup {
  readonly weights: readonly Parameter[];
  readonly count: number;
}

/** How they are chosen. */
export interface SubmatrixSelection {
  /** The best of all weights of a group, or the same share of each weight and at least one. */
  readonly selection: 'global' | 'perMatrix';
  /** So many of the best of each expert are chosen first. */
  readonly perExpert: number;
}

interface Candidate {
  readonly weight: Parameter;
  readonly place: Place;
  readonly score: number;
}

/** Sub-matrices of a weight, the best first; at equal scores the upper, then the left one. */
function candidatesOf(weight: Parameter, scores: SubmatrixScores, size: number): Candidate[] {
  const columns = (weight.shape[1] ?? 0) / size;
  return bestFirst(
    Array.from(scores.get(weight.id) ?? [], (score, index) => ({
      weight,
      place: [Math.floor(index / columns), index % columns],
      score,
    })),
  );
}

/** Sorting is stable: candidates with equal scores stay in the order of the model. */
function bestFirst(candidates: readonly Candidate[]): Candidate[] {
  return candidates.toSorted((a, b) => b.score - a.score);
}

function chosenOf(
  { weights, count }: ScoredGroup,
  scores: SubmatrixScores,
  size: number,
  { selection, perExpert }: SubmatrixSelection,
): readonly Candidate[] {
  const byWeight = weights.map((weight) => candidatesOf(weight, scores, size));
  const all = byWeight.flat();
  if (selection === 'perMatrix') {
    const share = count / Math.max(1, all.length);
    return count === 0
      ? []
      : byWeight.flatMap((own) => own.slice(0, Math.max(1, Math.floor(share * own.length))));
  }
  const ofExpert = Map.groupBy(
    all.filter(({ weight }) => weight.expert !== null),
    ({ weight }) => `${weight.layer} ${weight.expert}`,
  );
  const reserved = new Set(
    bestFirst([...ofExpert.values()].flatMap((own) => bestFirst(own).slice(0, perExpert))),
  );
  const rest = bestFirst(all).filter((candidate) => !reserved.has(candidate));
  return [...reserved, ...rest].slice(0, count);
}

/** The chosen places of each weight that has some, from the upper left to the lower right. */
export function selectSubmatrices(
  groups: readonly ScoredGroup[],
  scores: SubmatrixScores,
  size: number,
  selection: SubmatrixSelection,
): Map<string, readonly Place[]> {
  const chosen = groups.flatMap((group) => chosenOf(group, scores, size, selection));
  const byId = Map.groupBy(chosen, ({ weight }) => weight.id);
  return new Map(
    [...byId].map(([id, own]): [string, readonly Place[]] => [
      id,
      own.map(({ place }) => place).sort(([a, b], [c, d]) => a - c || b - d),
    ]),
  );
}
