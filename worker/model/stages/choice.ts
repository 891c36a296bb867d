/** The choice of experts inside a graph. */
import { GraphBuilder, op, type Graph, type Value } from '#worker/graph/index.ts';
import type { RouterPlan } from '../decoder-plan.ts';
import type { ChoiceRule } from '../routing-slots.ts';
import type { RouterShape } from '../slots.ts';

/** Scores with −∞ outside the kept groups of experts: the graph of what `chooseExperts` does first. */
function inBestGroups(
  { count, kept, best }: NonNullable<RouterPlan['groups']>,
  scores_NE: Value,
  experts: number,
): Value {
  const grouped_NGe = op.reshape(scores_NE, ['N', count, experts / count]);
  const groupScores_NG = op.reduceSum(op.topK(grouped_NGe, { k: best }).values, { axes: [-1] });
  const { indices: kept_NK } = op.topK(groupScores_NG, { k: kept });
  const isKept_NG = op.reduceSum(op.oneHot(kept_NK, count), { axes: [1] });
  const open_NGe = op.where(op.greater(op.unsqueeze(isKept_NG, { axes: [2] }), 0), grouped_NGe, -Infinity);
  return op.reshape(open_NGe, ['N', experts]);
}

/**
 * Graph of a choice by a rule: what `chooseBy` chooses, as a matrix. Inputs: `scores` [N, E], `visits` [N, 1], 0 for a row that
 * visits no expert and else 1, and for experts by token `ids` [N] (int64) and `tokenExperts` [V, k] (int32). Output:
 * `multiplicity` [N, E], how often each expert counts.
 */
export function choiceStage({ router, experts }: RouterShape, rule: ChoiceRule): Graph {
  const builder = new GraphBuilder('choice');
  const vector_E = (of: readonly number[], inside: number) => {
    const data = Float32Array.from({ length: experts }, (_, expert) => (of.includes(expert) ? inside : 0));
    return builder.constant({ dtype: 'float32', shape: [experts], data });
  };
  const scores_NE = builder.input('scores', 'float32', ['N', experts]);
  const filled = (value: number, columns: number) => op.expand(builder.constant(value), ['N', columns]);
  let multiplicity_NE = filled(0, experts);
  if (rule.k > 0) {
    const grouped_NE =
      router.groups === undefined ? scores_NE : inBestGroups(router.groups, scores_NE, experts);
    const open_NE =
      rule.excluded === undefined ? grouped_NE : op.add(grouped_NE, vector_E(rule.excluded, -Infinity));
    let { indices: chosen_NK } = op.topK(open_NE, { k: rule.k });
    if (rule.tokenExperts_VK !== undefined) {
      const ids_N = builder.input('ids', 'int64', ['N']);
      const table_VK = builder.input('tokenExperts', 'int32', ['V', rule.k]);
      const own_NK = op.cast(op.gather(table_VK, ids_N, { axis: 0 }), 'int64');
      chosen_NK = op.where(op.greaterOrEqual(own_NK, 0), own_NK, chosen_NK);
    }
    multiplicity_NE = op.scatterElements(multiplicity_NE, chosen_NK, filled(1, rule.k), { axis: 1 });
  }
  if (rule.always.length > 0) {
    const always_E = vector_E(rule.always, 1);
    multiplicity_NE =
      rule.overlap === 'double' ? op.add(multiplicity_NE, always_E) : op.maximum(multiplicity_NE, always_E);
  }
  builder.output('multiplicity', op.mul(multiplicity_NE, builder.input('visits', 'float32', ['N', 1])));
  return builder.build();
}
