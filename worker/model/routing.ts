/** The router of the checkpoint as it is: softmax over all experts, the k largest chosen. */
import { op, type Value } from '#worker/graph/index.ts';
import type { RouterPlan } from './decoder-plan.ts';
import type { RouterShape, Routing } from './slots.ts';
import { topK } from './top-k.ts';

/**
 * Gate weights `w = M ⊙ p`, divided by their sum where the router says so.
 * @param probabilities_NE what the weights are made of.
 * @param multiplicity_NE how often each expert counts for each token (0, 1, 2).
 */
export function gateWeights(router: RouterPlan, probabilities_NE: Value, multiplicity_NE: Value): Value {
  const weights_NE = op.mul(multiplicity_NE, probabilities_NE);
  if (!router.normalise) return weights_NE;
  // A token that visits no expert (padding) has the sum zero.
  return op.div(weights_NE, op.maximum(op.reduceSum(weights_NE, { axes: [-1], keepDims: true }), 1e-20));
}

/** The published routing of a decoder whose MoE layers are `shapes`. */
export function plainRouting(shapes: readonly RouterShape[]): Routing {
  return {
    buffers: [],
    scores: (logits_NE) => op.softmax(logits_NE),
    weights: (logits_NE, multiplicity_NE) =>
      gateWeights(routerOf(shapes), op.softmax(logits_NE), multiplicity_NE),
    choose(scores_NE, tokens, layer) {
      const { experts, expertsPerToken } = shapeOf(shapes, layer);
      return {
        chosen_NK: topK(scores_NE, tokens, experts, expertsPerToken),
        k: expertsPerToken,
        always: [],
        overlap: 'union',
      };
    },
  };
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
