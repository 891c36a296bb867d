/**
 * DenseMixer (Yao et al. 2025): the forward pass is that of the checkpoint; the router learns as if every token had passed
 * through all experts (a straight-through estimator over the dense mixture). Experts learn from their own tokens only.
 */
import { z } from 'zod';
import { op, type Value } from '#worker/graph/index.ts';
import {
  gateWeights,
  plainRouting,
  routerOf,
  routerScores,
  routerShapes,
  type Method,
  type RouterPlan,
} from '#worker/model/index.ts';
import { adapterChoice, trainedParts } from './adapter-options.ts';
import { routingLossOptions, routingLosses } from './routing-loss-options.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({
  denseWeights: z.enum(['p/S', 'p']).default('p/S').meta({
    title: 'Gate weights in the backward pass',
    description:
      'For checkpoints that divide the weights of the chosen experts by their sum S; elsewhere both are the same. p/S: divided as in the forward pass (released code for OLMoE and Qwen3). p: undivided (released code for Qwen2), so that gradients of experts are not those of the forward pass.',
    advanced: true,
  }),
  ...adapterChoice,
  ...routingLossOptions,
});

/** `p/S`: chosen experts as the router weighs them, the others divided by the same sum, which is a constant for them. */
function dividedWeights(router: RouterPlan, probabilities_NE: Value, multiplicity_NE: Value): Value {
  const chosen_NE = op.mul(multiplicity_NE, probabilities_NE);
  const sum_N1 = op.maximum(op.reduceSum(chosen_NE, { axes: [-1], keepDims: true }), 1e-20);
  const others_NE = op.sub(probabilities_NE, chosen_NE);
  return op.add(
    gateWeights(router, probabilities_NE, multiplicity_NE),
    op.mul(op.div(others_NE, op.stopGradient(sum_N1)), router.scale ?? 1),
  );
}

/** Straight-through dense router gradient. */
export const denseMixer: Method<typeof Options> = {
  name: 'densemixer',
  title: 'DenseMixer',
  trains: 'Every weight; the router learns from the outputs of all experts, not only of the chosen ones.',
  cost: 'One forward pass through every expert that was not chosen, on top of full fine-tuning; memory as there.',
  source: 'DenseMixer, Yao et al. 2025, and its released code.',
  options: Options,
  needs: 'scores',
  start(options, context) {
    const shapes = routerShapes(context.plan);
    const router = routerOf(shapes);
    const plain = plainRouting(shapes);
    const divided = router.normalise && options.denseWeights === 'p/S';
    return statelessSession({
      ...trainedParts(options, context),
      routing: {
        ...plain,
        dense: {
          standIn: { kind: 'output' },
          weights(logits_NE, multiplicity_NE) {
            const probabilities_NE = routerScores(router, logits_NE);
            return divided
              ? dividedWeights(router, probabilities_NE, multiplicity_NE)
              : op.mul(probabilities_NE, router.scale ?? 1);
          },
        },
      },
      inferenceRouting: plain,
      losses: routingLosses(options),
    });
  },
};
