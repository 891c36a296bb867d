/**
 * The routing of BASE layers (Lewis et al. 2021, arXiv 2103.16716): in training every expert gets as many tokens of a
 * micro-batch, so that the sum of the tokens' logits for their experts is the largest there is; in use each token goes to its
 * best experts. No balancing loss is needed.
 */
import { z } from 'zod';
import { UserError } from '#core/contract/errors.ts';
import { plainRouting, routerShapes, shapeOf, type Method, type RouterPlan } from '#worker/model/index.ts';
import { balancedAssignment } from './balanced-assignment.ts';
import { statelessSession } from './stateless-session.ts';

const Options = z.strictObject({});

/**
 * What an assignment adds up, from a score. For softmax that is the logit less a number that is the same for all experts of the
 * token, which no assignment depends on.
 */
function logitOf(scoring: RouterPlan['scoring'], score: number): number {
  // What is not a number is never preferred; the loss will tell.
  const p = score > 1e-30 ? score : 1e-30;
  return scoring === 'softmax' ? Math.log(p) : Math.log(p / Math.max(1 - p, 1e-30));
}

/** Balanced assignment of tokens to experts. */
export const baseAssignment: Method<typeof Options> = {
  name: 'base-assignment',
  title: 'BASE assignment',
  trains: 'Every weight, with tokens shared out evenly among experts.',
  cost: '1 ×, and the search for the assignment.',
  source:
    'BASE layers, Lewis et al. 2021 (arXiv 2103.16716), with the gate weights and the number of experts of the checkpoint.',
  options: Options,
  needs: 'scores',
  start(_options, { plan }) {
    const shapes = routerShapes(plan);
    if (shapes.some(({ router }) => router.selectionBias)) {
      throw new UserError(
        'method/router',
        `base-assignment shares tokens out by the router's logits; this ${plan.family} checkpoint adds a bias to the scores it chooses by`,
        'Choose another method for this model.',
      );
    }
    const plain = plainRouting(shapes);
    return statelessSession({
      trainable: () => true,
      routing: {
        ...plain,
        choose(scores_NE, ids_N, layer) {
          const { router, experts, expertsPerToken: k } = shapeOf(shapes, layer);
          const included = [...ids_N.keys()].filter((token) => ids_N[token] !== -1);
          const logits = Float64Array.from({ length: included.length * experts }, (_, at) => {
            const token = included[Math.floor(at / experts)] ?? 0;
            return logitOf(router.scoring, scores_NE[token * experts + (at % experts)] ?? NaN);
          });
          const assigned = balancedAssignment(logits, included.length, experts, k);
          const chosen_NK = new Int32Array(ids_N.length * k).fill(-1);
          included.forEach((token, row) =>
            chosen_NK.set(assigned.subarray(row * k, (row + 1) * k), token * k),
          );
          return { chosen_NK, k, always: [], overlap: 'union' };
        },
      },
      inferenceRouting: plain,
      losses: [],
    });
  },
};
