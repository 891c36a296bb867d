/** Which experts a task uses most. */

/**
 * Experts by falling score until their scores add up to `share`; the one that reaches it is kept. Of equal scores the
 * lower index comes first; experts without any score are never chosen (ESFT, arXiv 2407.01906, section 3.2).
 * @param scores_E one for each expert of a layer, not negative.
 */
export function selectExperts(scores_E: readonly number[], share: number): number[] {
  const order = scores_E
    .map((_, expert) => expert)
    .filter((expert) => (scores_E[expert] ?? 0) > 0)
    .sort((a, b) => (scores_E[b] ?? 0) - (scores_E[a] ?? 0) || a - b);
  const selected: number[] = [];
  let reached = 0;
  for (const expert of order) {
    if (reached >= share) break;
    selected.push(expert);
    reached += scores_E[expert] ?? 0;
  }
  return selected;
}
