/**
 * DS-MoE (Pan et al. 2024, arXiv 2404.05567): every token passes through all experts in training, and through the k best
 * ones when the model is used. A mutual-information loss makes the router sure of each token and even over all of them.
 */
import { z } from 'zod';
import { plainRouting, routerShapes, shapeOf, type Method, type Routing } from '#worker/model/index.ts';
import { mutualInformationLoss } from './routing-losses.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({
  mutualInformationCoefficient: z.number().min(0).default(0.01).meta({
    title: 'Mutual-information loss',
    unit: '× loss',
    description:
      'Makes each token favour few experts and all tokens together use them evenly. 0: off, and nothing prepares the model for using few experts. The value of the paper is not known here; 0.01 is of the size common for balancing losses.',
  }),
  mutualInformationAccumulation: z.enum(['mean', 'sum']).default('mean').meta({
    title: 'Mutual-information loss over micro-batches',
    description: 'mean: independent of gradient accumulation; sum: grows with it.',
    advanced: true,
  }),
});

/** The routing of the checkpoint with all experts besides the chosen ones, which are still what statistics count. */
function denseRouting(sparse: Routing, experts: (layer: number) => number): Routing {
  return {
    ...sparse,
    choose: (scores_NE, ids_N, layer) => ({
      ...sparse.choose(scores_NE, ids_N, layer),
      always: Array.from({ length: experts(layer) }, (_, expert) => expert),
    }),
  };
}

/** Dense training, sparse inference. */
export const dsMoe: Method<typeof Options> = {
  name: 'ds-moe',
  title: 'Dense training, sparse inference',
  trains: 'Every weight, with every token sent to all experts; the trained model uses k of them again.',
  cost: 'Experts ÷ k × in the expert layers, in time and activations.',
  source:
    'DS-MoE, Pan et al. 2024 (arXiv 2404.05567), its feed-forward half: attention heads stay as they are.',
  options: Options,
  needs: 'scores',
  start(options, { plan }) {
    const { mutualInformationCoefficient: coefficient, mutualInformationAccumulation: accumulation } =
      options;
    const shapes = routerShapes(plan);
    const sparse = plainRouting(shapes);
    return statelessSession({
      trainable: () => true,
      visitedExperts: ({ experts }) => experts,
      routing: denseRouting(sparse, (layer) => shapeOf(shapes, layer).experts),
      inferenceRouting: sparse,
      losses: coefficient > 0 ? [mutualInformationLoss(coefficient, accumulation)] : [],
    });
  },
};
