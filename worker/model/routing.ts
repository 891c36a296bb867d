/** The router of the checkpoint as it is: scores, the k largest chosen, gate weights. */
import { invariant } from '#core/contract/errors.ts';
import { op, type Value } from '#worker/graph/index.ts';
import type { RouterPlan } from './decoder-plan.ts';
import type { Choice, ChoiceRule, Choose, Routing } from './routing-slots.ts';
import type { RouterShape } from './slots.ts';
import { topK } from './top-k.ts';

/** What gate weights are made of: softmax or sigmoid of the logits, `[tokens, experts]`. */
export function routerScores(router: RouterPlan, logits_NE: Value): Value {
  switch (router.scoring) {
    case 'softmax':
      return op.softmax(logits_NE);
    case 'sigmoid':
      return op.sigmoid(logits_NE);
  }
}

/**
 * Scores as a distribution over experts, which auxiliary losses look at: softmax, or sigmoid divided by its sum
 * (DeepSeek-V3, arXiv 2412.19437, equation 19).
 */
export function routingProbabilities(scoring: RouterPlan['scoring'], logits_NE: Value): Value {
  if (scoring === 'softmax') return op.softmax(logits_NE);
  const scores_NE = op.sigmoid(logits_NE);
  return op.div(scores_NE, op.maximum(op.reduceSum(scores_NE, { axes: [-1], keepDims: true }), 1e-20));
}

/**
 * Gate weights `w = M ⊙ p`, divided by their sum and scaled where the router says so. Families that take the softmax of
 * the chosen logits only are the case of a softmax divided by the chosen sum.
 * @param probabilities_NE what the weights are made of.
 * @param multiplicity_NE how often each expert counts for each token (0, 1, 2).
 */
export function gateWeights(router: RouterPlan, probabilities_NE: Value, multiplicity_NE: Value): Value {
  invariant(router.sparseMixer === undefined, 'SparseMixer weights are made of logits');
  const chosen_NE = op.mul(multiplicity_NE, probabilities_NE);
  const scaled = (weights_NE: Value) =>
    router.scale === undefined || router.scale === 1 ? weights_NE : op.mul(weights_NE, router.scale);
  if (!router.normalise) return scaled(chosen_NE);
  // A token that visits no expert (padding) has the sum zero.
  const sum_N1 = op.maximum(op.reduceSum(chosen_NE, { axes: [-1], keepDims: true }), 1e-20);
  const { normaliseEpsilon: epsilon } = router;
  return scaled(op.div(chosen_NE, epsilon === undefined ? sum_N1 : op.add(sum_N1, epsilon)));
}

/** `softmax(z)` over the experts with `open` 1. */
function openSoftmax(logits_NE: Value, open_NE: Value): Value {
  return op.softmax(op.add(logits_NE, op.mul(op.sub(open_NE, 1), 1e9)));
}

/**
 * Gate weights of SparseMixer (Liu et al. 2024, arXiv 2409.12136) without its sampling: the best expert's is its share of a
 * softmax over the logits that are not far below it, and the second's the same among the others. z is far below m where
 * `(m − z) / max(|z|, m) > 2 ε`.
 */
function sparseMixerWeights(threshold: number, logits_NE: Value, multiplicity_NE: Value): Value {
  const fixed_NE = op.stopGradient(logits_NE);
  const share = (candidate_NE: Value) => {
    const among_NE = op.add(fixed_NE, op.mul(op.sub(candidate_NE, 1), 1e9));
    const best_N1 = op.reduceMax(among_NE, { axes: [-1], keepDims: true });
    const limit_NE = op.mul(op.maximum(op.abs(fixed_NE), best_N1), 2 * threshold);
    const near_NE = op.where(
      op.greater(op.sub(best_N1, fixed_NE), limit_NE),
      op.mul(fixed_NE, 0),
      candidate_NE,
    );
    return { best_N1, weights_NE: openSoftmax(logits_NE, near_NE) };
  };
  const all_NE = op.add(op.mul(fixed_NE, 0), 1);
  const first = share(all_NE);
  const others_NE = op.where(op.greaterOrEqual(fixed_NE, first.best_N1), op.mul(fixed_NE, 0), all_NE);
  const second = share(others_NE);
  return op.mul(
    multiplicity_NE,
    op.add(op.mul(op.sub(1, others_NE), first.weights_NE), op.mul(others_NE, second.weights_NE)),
  );
}

/** Gate weights of the checkpoint's own rule. */
function plainWeights(router: RouterPlan, logits_NE: Value, multiplicity_NE: Value): Value {
  return router.sparseMixer === undefined
    ? gateWeights(router, routerScores(router, logits_NE), multiplicity_NE)
    : sparseMixerWeights(router.sparseMixer, logits_NE, multiplicity_NE);
}

/**
 * The `k` best experts of each token by the router's rule: those of its best groups, where it has groups, and others only when
 * `k` asks for more than these hold.
 * @param excluded experts that cannot be chosen.
 */
export function chooseExperts(
  { router, experts }: RouterShape,
  scores_NE: Float32Array,
  tokens: number,
  k: number,
  excluded: readonly number[] = [],
): Int32Array {
  const open_NE =
    router.groups === undefined ? scores_NE : bestGroups(router.groups, scores_NE, tokens, experts);
  return topK(open_NE, tokens, experts, k, excluded);
}

/** The scores with −∞ outside the kept groups. */
function bestGroups(
  { count, kept, best }: NonNullable<RouterPlan['groups']>,
  scores_NE: Float32Array,
  tokens: number,
  experts: number,
): Float32Array {
  const size = experts / count;
  const inGroup = topK(scores_NE, tokens * count, size, best);
  const groupScores = new Float32Array(tokens * count);
  inGroup.forEach((expert, slot) => {
    const group = Math.floor(slot / best);
    groupScores[group] = (groupScores[group] as number) + (scores_NE[group * size + expert] as number);
  });
  const open_NE = new Float32Array(scores_NE.length).fill(-Infinity);
  topK(groupScores, tokens, count, kept).forEach((group, slot) => {
    const from = (Math.floor(slot / kept) * count + group) * size;
    open_NE.set(scores_NE.subarray(from, from + size), from);
  });
  return open_NE;
}

/** Chooses by a rule for each MoE layer of a decoder, which are `shapes`. */
export function chooseBy(shapes: readonly RouterShape[], rule: (layer: number) => ChoiceRule): Choose {
  const choose = (scores_NE: Float32Array, ids_N: Int32Array, layer: number): Choice => {
    const { k, always, overlap, excluded, tokenExperts_VK } = rule(layer);
    const best_NK = chooseExperts(shapeOf(shapes, layer), scores_NE, ids_N.length, k, excluded);
    const chosen_NK =
      tokenExperts_VK === undefined
        ? best_NK
        : best_NK.map((best, at) => {
            const id = ids_N[Math.floor(at / k)] ?? -1;
            const own = id < 0 ? -1 : (tokenExperts_VK[id * k + (at % k)] ?? -1);
            return own < 0 ? best : own;
          });
    return { chosen_NK, k, always, overlap };
  };
  return Object.assign(choose, { rule });
}

const plain = new WeakSet<Routing>();

/** Whether a routing is that of the checkpoint: made by `plainRouting` and not changed. */
export function isPlainRouting(routing: Routing): boolean {
  return plain.has(routing);
}

/** The published routing of a decoder whose MoE layers are `shapes`. */
export function plainRouting(shapes: readonly RouterShape[]): Routing {
  const routing: Routing = {
    buffers: [],
    scores: (logits_NE) => routerScores(routerOf(shapes), logits_NE),
    weights: (logits_NE, multiplicity_NE) => plainWeights(routerOf(shapes), logits_NE, multiplicity_NE),
    choose: chooseBy(shapes, (layer) => ({
      k: shapeOf(shapes, layer).expertsPerToken,
      always: [],
      overlap: 'union',
    })),
  };
  plain.add(routing);
  return routing;
}

/** The shape of MoE layer `layer`. */
export function shapeOf(shapes: readonly RouterShape[], layer: number): RouterShape {
  const shape = shapes[layer];
  if (shape === undefined) throw new RangeError(`MoE layer ${layer} of ${shapes.length}`);
  return shape;
}

/** The routing rule, which all layers of a decoder share. */
export function routerOf(shapes: readonly RouterShape[]): RouterPlan {
  return shapeOf(shapes, 0).router;
}
